package bus

import (
	"fmt"
	"slices"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// A body over chunked bytes does not travel in its frame but in chunks between
// other frames: BULK stands for the frame, BULK_GO says how much memory the
// receiver has reserved for the body so far, and CHUNK_ACK how much of it has come,
// so that no more than a window of it lies in the kernel before what is small. That is also
// what TCP's not-sent low-water mark is for, which adds nothing to it: not on
// loopback, and not on links of 1 Gbit/s and less, where it is the window that a
// small message waits for.

const (
	chunked    = 64 << 10
	chunkAck   = 16 << 10 // bytes for which one is sent
	bulksAhead = 2        // under way, or asked for ahead (rule 21)
)

// A large frame is in one of these states on its way out; see "Large bodies" in
// PROTOCOL.md.
const (
	// The link has not announced it yet, as two others are before it.
	bulkQueued = iota

	// BULK is written. As much of the body is sent as its receiver has granted so far;
	// until all of it is, the frame can be taken back.
	bulkAsked

	// The last chunk has left, or is being written: it is too late to take the frame
	// back.
	bulkWhole

	// The frame has been taken back, or its receiver has refused it. It is forgotten,
	// unless the writer still has memory of its owner's.
	bulkReset
)

// bulkOut is a frame with a large body on its way out. It is guarded by writer.mu.
type bulkOut struct {
	owner  bulkOwner
	kind   int // frame.Msg, frame.Reply, frame.Bounce or frame.Handover
	id     uint64
	head   frame.Head
	header Header
	rest   []byte // fields between the headers and the body
	body   []byte
	owned  bool        // the body's memory is nobody else's
	done   chan error  // of one: nil when all is written; nil if nobody waits
	due    int64       // the deadline that it tells; 0: none
	timer  *time.Timer // takes it back at its deadline; nil: its owner does

	state       uint8
	granted     int // bytes that may be sent
	sent, acked int
	lent        bool          // its sender's memory is being written from
	back        chan struct{} // closed when it no longer is; nil: nobody asks
	err         error         // why it was reset
}

// bulks is what a link has of large bodies on their way out. It is guarded by writer.mu.
type bulks struct {
	out     []*bulkOut
	seq     uint64
	pace    chunkPace
	copied  []byte // a chunk that is being written
	bounces int    // of out
	ended   bool   // one has: others, or a leave, may have waited for it
}

// takesBulk reports whether one more may be asked for.
func (b *bulks) takesBulk() bool { return len(b.out) < bulksAhead }

func (w *writer) enqueueLocked(b *bulkOut) {
	w.bulks.seq++
	b.id = w.bulks.seq
	w.bulks.out = append(w.bulks.out, b)
	w.askLocked()
	w.wakeLocked()
}

// askLocked (rule 21) asks for the first ones of the queue.
func (w *writer) askLocked() {
	for _, b := range w.bulks.out[:min(bulksAhead, len(w.bulks.out))] {
		if b.state != bulkQueued || !w.open() {
			continue
		}
		b.state = bulkAsked
		if b.due != 0 {
			b.head[frame.FTimeLeft] = w.leftLocked(b.due)
		}
		inner := frame.AppendFields(nil, &b.head, b.header, b.rest)
		h := frame.Head{frame.FBulk: b.id, frame.FSize: uint64(len(b.body)), frame.FFrame: uint64(b.kind)}
		w.buf = append(frame.Append(w.buf, frame.Bulk, &h, nil, nil, len(inner)), inner...)
	}
}

// next returns the first one that the receiver has memory for the rest of, or
// for some of it; nil if there is none. It does not have to be the first of all:
// large frames overtake each other, as none goes on a route on which another does.
func (b *bulks) next() *bulkOut {
	for _, o := range b.out[:min(bulksAhead, len(b.out))] {
		if o.sent < o.granted {
			return o
		}
	}
	return nil
}

// hasChunk reports whether a chunk may be written.
func (w *writer) hasChunk() bool {
	b := w.bulks.next()
	if b == nil || w.bye {
		return false
	}
	return w.bulks.pace.allows(b.sent - b.acked)
}

// chunkLocked returns a part that is b and a chunk. If the sender's memory is lent
// for it, it has to be given back. Else the chunk is copied, as a write that is under
// way on such a connection cannot be cut short, and the sender is not to wait for it.
func (w *writer) chunkLocked(b []byte) part {
	o := w.bulks.next()
	chunk := o.body[o.sent:min(o.granted, o.sent+w.bulks.pace.size(w.pace.most))]
	if o.sent += len(chunk); o.sent == len(o.body) {
		o.state = bulkWhole
	}
	w.bulks.pace.sent(o, len(chunk), w.clk.now())
	switch {
	case o.owned:
	case w.raw != nil:
		o.lent = true
	default:
		w.bulks.copied = append(w.bulks.copied[:0], chunk...)
		chunk = w.bulks.copied
	}
	b = frame.Append(b, frame.Chunk, &frame.Head{frame.FBulk: o.id}, nil, nil, len(chunk))
	if !o.lent {
		w.chunkGoneLocked(o)
	}
	return part{b: b, first: true, bulk: o, chunk: chunk}
}

// chunkGoneLocked notes that a chunk has left the sender's memory.
func (w *writer) chunkGoneLocked(b *bulkOut) {
	if b.lent = false; b.back != nil {
		close(b.back)
		b.back = nil
	}
	switch {
	case b.state == bulkReset:
		b.end(b.err)
	case b.whole():
		w.bulks.out = slices.DeleteFunc(w.bulks.out, func(o *bulkOut) bool { return o == b })
		w.writtenLocked(b)
		w.askLocked()
	}
}

// writtenLocked notes that the last chunk has left.
func (w *writer) writtenLocked(b *bulkOut) {
	w.bulks.ended = true
	w.bulks.pace.over(b, len(w.bulks.out) == 0)
	b.owner.written()
	b.end(nil)
}

// whole reports whether the last chunk has left, or is being written: it is too late
// to take the frame back.
func (b *bulkOut) whole() bool { return b.state == bulkWhole }

func (b *bulkOut) end(err error) {
	if b.timer != nil {
		b.timer.Stop()
	}
	if b.done != nil {
		b.done <- err
	}
}

// resetLocked (rule 23) takes back a large frame that is not wholly written.
func (w *writer) resetLocked(b *bulkOut, why error) {
	w.bulks.ended = true
	w.bulks.out = slices.DeleteFunc(w.bulks.out, func(o *bulkOut) bool { return o == b })
	w.bulks.pace.over(b, len(w.bulks.out) == 0)
	if b.state == bulkAsked {
		w.frameLocked(frame.BulkReset, &frame.Head{frame.FBulk: b.id})
		w.returned()
	}
	b.state = bulkReset
	if b.err = b.owner.takenBack(why); b.lent {
		w.cutShort()
	} else {
		b.end(b.err)
	}
	w.askLocked()
	w.wakeLocked()
}

// resetAllLocked (rule 7) resets the large messages that which picks, handed over ones
// too, to be routed elsewhere.
func (w *writer) resetAllLocked(which func(*bulkOut) bool) {
	for _, b := range slices.Clone(w.bulks.out) {
		if (b.kind == frame.Msg || b.kind == frame.Handover) && !b.whole() && which(b) {
			w.resetLocked(b, errAgain)
		}
	}
}

// giveUp resets the frame that ends on done, or has it end soon. It reports false if
// it is written, or all but, or reset already.
func (w *writer) giveUp(done chan error, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.bulks.out {
		switch {
		case b.done != done:
		case !b.whole():
			w.resetLocked(b, err)
			return true
		case b.lent:
			w.cutShort()
		}
	}
	return false
}

// gotBulkGo, gotChunkAck and gotBulkRefused are the receiver's answers. Those to
// a frame that was reset meanwhile are ignored.
func (w *writer) gotBulkGo(f *frame.Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, n := w.bulkLocked(f.Bulk()), f.Size()
	switch {
	case b == nil:
		return nil
	case n > uint64(len(b.body)):
		return fmt.Errorf("%w: memory for %d bytes of a body of %d", frame.ErrMalformed, n, len(b.body))
	case n == 0:
		n = uint64(len(b.body))
	}
	b.granted = max(b.granted, int(n)) // what is said first may come last
	w.wakeLocked()
	return nil
}

func (w *writer) gotChunkAck(f *frame.Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, n := w.bulkLocked(f.Bulk()), f.Size()
	if b == nil {
		return nil
	}
	if n > uint64(b.sent-b.acked) {
		return fmt.Errorf("%w: acknowledgement of %d bytes, where %d are under way", frame.ErrMalformed, n, b.sent-b.acked)
	}
	b.acked += int(n)
	w.bulks.pace.acked(b, int(n), w.clk.now())
	w.wakeLocked()
	return nil
}

func (w *writer) bulkLocked(id uint64) *bulkOut {
	for _, b := range w.bulks.out {
		if b.id == id {
			return b
		}
	}
	return nil
}
