package bus

import (
	"slices"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// outbox is what a link has to write. It is guarded by writer.mu, but for the bytes
// that are being written, which belong to the goroutine that has made writer.state
// writeRunning.
//
// Frames that may overtake others are in first: PING, PONG, CREDIT, BULK_GO,
// CHUNK_ACK, a refusal of BULK, and ROUTES and LEAVING, in the order in which they
// were appended. They need be before some frames (a removal before what it sends
// back), and behind none but those before returning. All others are in buf, in
// order, as each is a barrier for some that are behind it or before it: messages
// and replies, ROUTES_ACK and LEAVING_OK, which say that no message follows,
// BOUNCE and ROUTES_DONE, CANCEL, BULK, BULK_RESET and GOODBYE.
//
// Each write begins with first, so that whatever is appended to buf comes after all
// that first had then.
type outbox struct {
	first []byte
	buf   []byte
	turn  []byte // frames that were in buf, before those that are
	rest  []byte // of a frame whose beginning is written; before all else

	turnAll    []byte // turn's memory
	spare      []byte // the memory that buf has next
	spareFirst []byte // the same for first

	swaps     uint64 // of buf with turn
	returning mark   // behind the last BOUNCE, ROUTES_DONE or BULK_RESET
	ponged    bool   // first has a PONG
	grown     bool   // the memory was more than bufferKept since the last look
}

const (
	bufferCap  = 1 << 20  // bytes in order and not yet written from which on calls wait
	firstCap   = 64 << 10 // bytes of first from which on ROUTES wait
	bufferKept = 64 << 10 // memory of a buffer that an idle link keeps
)

// backlog returns how many bytes in order are not written.
func (q *outbox) backlog() int { return len(q.buf) + len(q.turn) + len(q.rest) }

// empty reports whether all is written.
func (q *outbox) empty() bool { return len(q.first) == 0 && q.backlog() == 0 }

// mark is a place behind what is in buf; 0 is before all.
type mark uint64

// returned notes that a BOUNCE, ROUTES_DONE or BULK_RESET was appended.
func (q *outbox) returned() { q.returning = mark(q.swaps + 1) }

// written reports whether all before a mark is written. Not while somebody writes.
func (q *outbox) written(m mark) bool {
	switch {
	case m == 0:
		return true
	case uint64(m) == q.swaps+1:
		return q.backlog() == 0
	case uint64(m) == q.swaps:
		return len(q.turn)+len(q.rest) == 0
	}
	return true
}

// overtakes reports whether a frame belongs to first.
func overtakes(kind int, h *frame.Head) bool {
	switch kind {
	case frame.Ping, frame.Pong, frame.Credit, frame.Leaving, frame.BulkGo, frame.ChunkAck:
		return true
	case frame.BulkReset:
		return h[frame.FRefused] != 0 // of what the peer has begun
	}
	return false
}

// part is what a link writes at a time: b, then after, then a chunk.
type part struct {
	b     []byte   // whole frames, but for the end of one that is begun
	first bool     // b is what was in first, and what was copied behind it
	after []byte   // frames in turn
	bulk  *bulkOut // whose chunk it is; nil: none
	chunk []byte
}

// left returns a copy of what is left of a part with a chunk when n bytes are
// written, and of the padding behind it; nil if nothing is.
func (p part) left(n int) []byte {
	size := len(p.b) + len(p.chunk)
	pad := frame.AppendPad(nil, size)
	if n == size+len(pad) {
		return nil
	}
	return slices.Concat(p.b, p.chunk, pad)[n:]
}

// takeFirst takes what is in first out. The caller appends to it.
func (q *outbox) takeFirst() []byte {
	b := q.first
	q.first, q.spareFirst, q.ponged = q.spareFirst[:0], nil, false
	return b
}

// next returns the frames that are to be written next, of those in order about so
// many bytes. The writes around large bodies are to have even ends: see frame.Alignment.
func (q *outbox) next(most int, even bool) (p part) {
	if len(q.rest) > 0 {
		return part{b: q.rest}
	}
	run := q.run(most, even)
	if len(q.first) == 0 {
		return part{b: run}
	}
	p = part{b: q.takeFirst(), first: true}
	if even || len(run) >= frame.AlignedBody {
		p.b = frame.AppendPad(p.b, len(p.b))
	}
	if len(run) > inlineMax {
		p.after = run
		return p
	}
	p.b = append(p.b, run...)
	q.turn = q.turn[len(run):]
	return p
}

// run returns the frames in turn that are next.
func (q *outbox) run(most int, even bool) []byte {
	if len(q.turn) == 0 && len(q.buf) > 0 {
		if even || len(q.buf) >= frame.AlignedBody {
			q.buf = frame.AppendPad(q.buf, len(q.buf))
		}
		q.grown = q.grown || len(q.buf) > bufferKept
		q.turnAll, q.buf, q.spare = q.buf, q.spare[:0], q.turnAll[:0]
		q.turn = q.turnAll
		q.swaps++
	}
	if len(q.turn) <= most+most/2 {
		return q.turn
	}
	return q.turn[:frameEnd(q.turn, most)]
}

// frameEnd returns the end of the frame of b that reaches to at, or over it.
func frameEnd(b []byte, at int) (end int) {
	for end < at {
		_, _, n, err := frame.Next(b[end:])
		if err != nil || n == 0 || n > len(b)-end { // which this node has not written
			return len(b)
		}
		end += n
	}
	return end
}

// wrote notes that n bytes of a part are written.
func (q *outbox) wrote(p part, n int) {
	switch {
	case len(q.rest) > 0:
		q.rest = q.rest[n:]
		return
	case p.bulk != nil:
		if q.rest = p.left(n); q.rest == nil {
			q.spareFirst = p.b[:0]
		}
		return
	case p.first && n < len(p.b): // and nothing of what comes behind it
		q.rest = p.b[n:]
		return
	case p.first:
		n -= len(p.b)
		q.spareFirst = p.b[:0]
		p.b = p.after
	}
	if len(p.b) > 0 {
		end := frameEnd(p.b, n)
		q.rest, q.turn = q.turn[n:end], q.turn[end:]
	}
}

// trim frees memory that has not been needed since it was last called.
func (q *outbox) trim() {
	if q.grown || !q.empty() {
		q.grown = false
		return
	}
	for _, b := range []*[]byte{&q.buf, &q.spare, &q.turnAll, &q.first, &q.spareFirst} {
		if cap(*b) > bufferKept {
			*b = nil
		}
	}
	q.turn, q.rest = nil, nil
}
