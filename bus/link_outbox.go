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
// were appended. Some of them have to come before frames of buf: a removal before the
// messages that it sends back. None has to come behind a frame of buf, but for an addition
// whose number is used again, which is not appended to first until the frames before the
// mark `returning` are written. All others are in buf, in order, as each is a barrier for
// some frames behind it or before it: messages and replies, ROUTES_ACK and LEAVING_OK,
// which say that no message follows, BOUNCE and ROUTES_DONE, CANCEL, BULK, BULK_RESET and
// GOODBYE.
//
// Each write begins with first, so that whatever is appended to buf comes after all
// that first had then.
type outbox struct {
	first []byte
	buf   []byte
	taken []byte // frames that were taken out of buf, to be written before what buf has now
	rest  []byte // the end of a frame whose beginning is written: it is written before all else

	takenAll   []byte // the memory of taken
	spare      []byte // the memory that buf has next
	spareFirst []byte // the same for first

	swaps     uint64 // how often buf was taken
	returning mark   // the place behind the last BOUNCE, ROUTES_DONE or BULK_RESET
	ponged    bool   // first has a PONG
	grown     bool   // the memory was more than bufferKept since the last look
}

const (
	bufferCap  = 1 << 20  // bytes in order and not yet written from which on calls wait
	firstCap   = 64 << 10 // bytes of first from which on ROUTES wait
	bufferKept = 64 << 10 // memory of a buffer that an idle link keeps
)

// backlog returns how many bytes in order are not written.
func (q *outbox) backlog() int { return len(q.buf) + len(q.taken) + len(q.rest) }

// empty reports whether all is written.
func (q *outbox) empty() bool { return len(q.first) == 0 && q.backlog() == 0 }

// mark is the place behind what buf had at some time; 0 is before all frames.
type mark uint64

// returned notes that a BOUNCE, ROUTES_DONE or BULK_RESET was appended.
func (q *outbox) returned() { q.returning = mark(q.swaps + 1) }

// written reports whether all frames before a mark are written. The caller has made sure
// that no goroutine writes.
func (q *outbox) written(m mark) bool {
	switch {
	case m == 0:
		return true
	case uint64(m) == q.swaps+1:
		return q.backlog() == 0
	case uint64(m) == q.swaps:
		return len(q.taken)+len(q.rest) == 0
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
	after []byte   // the beginning of taken
	bulk  *bulkOut // the large frame whose chunk it is; nil: there is no chunk
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

// next returns the frames that are to be written next: all of first, and about most bytes
// of the frames in order. The writes around large bodies are to have even ends: see frame.Alignment.
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
	q.taken = q.taken[len(run):]
	return p
}

// run returns the frames in order that are to be written next, of about most bytes. They
// stay in taken.
func (q *outbox) run(most int, even bool) []byte {
	if len(q.taken) == 0 && len(q.buf) > 0 {
		if even || len(q.buf) >= frame.AlignedBody {
			q.buf = frame.AppendPad(q.buf, len(q.buf))
		}
		q.grown = q.grown || len(q.buf) > bufferKept
		q.takenAll, q.buf, q.spare = q.buf, q.spare[:0], q.takenAll[:0]
		q.taken = q.takenAll
		q.swaps++
	}
	if len(q.taken) <= most+most/2 {
		return q.taken
	}
	return q.taken[:frameEnd(q.taken, most)]
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
		q.rest, q.taken = q.taken[n:end], q.taken[end:]
	}
}

// trim frees memory that has not been needed since it was last called.
func (q *outbox) trim() {
	if q.grown || !q.empty() {
		q.grown = false
		return
	}
	for _, b := range []*[]byte{&q.buf, &q.spare, &q.takenAll, &q.first, &q.spareFirst} {
		if cap(*b) > bufferKept {
			*b = nil
		}
	}
	q.taken, q.rest = nil, nil
}
