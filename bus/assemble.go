package bus

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// bulkIn is a frame whose large body comes in chunks.
type bulkIn struct {
	reservation
	kind    int
	f       frame // without the body
	buf     []byte
	ins     []*inbound // of a message: where it goes
	cost    int64
	unacked int

	deadline int64
	late     *time.Timer // ends the link some time after the deadline
}

// lateBy is how long after its deadline a large body may still be coming: its
// sender takes it back at the deadline.
const lateBy = 5 * time.Second

// reservation is memory for a body in the node's budget.
type reservation struct {
	link    *link
	id      uint64
	size    int64
	granted atomic.Bool
}

// budget is the memory for bodies that are coming in, first come first served.
// A body whose memory is reserved needs nothing else to be complete, so that
// nothing locks up.
type budget struct {
	mu    sync.Mutex
	free  int64
	queue []*reservation
}

// ask reserves memory, now or later: the sender is told then.
func (b *budget) ask(r *reservation) {
	b.mu.Lock()
	b.queue = append(b.queue, r)
	granted := b.grantLocked()
	b.mu.Unlock()
	tell(granted)
}

// release gives a reservation back, or takes back that it was asked for.
func (b *budget) release(r *reservation) {
	b.mu.Lock()
	if r.granted.Load() {
		b.free += r.size
	} else {
		b.queue = slices.DeleteFunc(b.queue, func(o *reservation) bool { return o == r })
	}
	granted := b.grantLocked()
	b.mu.Unlock()
	tell(granted)
}

func (b *budget) grantLocked() (granted []*reservation) {
	for len(b.queue) > 0 && b.queue[0].size <= b.free {
		r := b.queue[0]
		b.queue = slices.Delete(b.queue, 0, 1)
		b.free -= r.size
		r.granted.Store(true)
		granted = append(granted, r)
	}
	return granted
}

func tell(granted []*reservation) {
	for _, r := range granted {
		r.link.frame(frameBulkGo, &head{fBulk: r.id})
		r.link.soon()
	}
}

// gotBulk begins a frame with a large body. Where it goes is settled now: what
// is said of routes later comes later.
func (r *reader) gotBulk(f *frame) error {
	size, kind := f.head[fSize], int(f.head[fFrame])
	b := &bulkIn{reservation: reservation{link: r.link, id: f.head[fBulk], size: int64(size)}, kind: kind}
	if err := b.f.parse(f.body); err != nil {
		return err
	}
	if size <= chunked || len(r.bulksIn) >= bulksAhead || r.bulksIn[b.id] != nil || b.f.body != nil {
		return fmt.Errorf("%w: body of %d bytes in chunks, beside %d others", errMalformed, size, len(r.bulksIn))
	}
	if limit := uint64(r.core.bodyLimit); size > limit {
		r.link.frame(frameBulkReset, &head{fBulk: b.id, fSize: limit, fFrame: 1})
		r.soon()
		return nil
	}
	b.f.codecName = slices.Clone(b.f.codecName) // it is part of the read buffer
	b.cost = messageCost + int64(size) + int64(b.f.header.size())
	if err := r.address(b); err != nil {
		return err
	}
	b.deadline = r.deadline(&b.f)
	if kind == frameReply && b.f.head[fAsk] == 0 {
		b.deadline = r.pend.deadline(b.f.head[fID])
	}
	b.late = time.AfterFunc(time.Duration(b.deadline-r.now)+lateBy, func() {
		r.link.fail(fmt.Errorf("a body of %d bytes did not come within its time", size))
	})
	if r.bulksIn == nil {
		r.bulksIn = map[uint64]*bulkIn{}
	}
	r.bulksIn[b.id] = b
	r.core.assembly.ask(&b.reservation)
	return nil
}

// address finds where a large message goes, and counts it as come.
func (r *reader) address(b *bulkIn) error {
	if b.kind == frameReply || b.kind == frameBounce {
		return nil
	}
	kind := b.f.head[fKind]
	if b.kind != frameMsg || kind < kindSend || kind > kindPublish {
		return fmt.Errorf("%w: chunks for a frame %d of kind %d", errMalformed, b.kind, kind)
	}
	in := r.inbound(b.f.head[fRoute])
	if in == nil {
		return fmt.Errorf("%w: message for route %d, which is not there", errMalformed, b.f.head[fRoute])
	}
	b.ins = []*inbound{in}
	if kind == kindPublish {
		skip, err := numbers(b.f.skipped)
		if err != nil {
			return err
		}
		b.ins = r.charged(in, skip)
	}
	for _, in := range b.ins {
		if err := in.take(b.cost, b.f.head[fStarved] != 0); err != nil {
			return err
		}
		r.unsettledIn.Add(1)
	}
	return nil
}

// place returns where the next n bytes belong, nil if they are too many.
func (b *bulkIn) place(n int) []byte {
	if !b.granted.Load() || int64(len(b.buf)+n) > b.size {
		return nil
	}
	if b.buf == nil {
		b.buf = b.link.core.bodies.get(int(b.size))[:0]
	}
	return b.buf[len(b.buf) : len(b.buf)+n]
}

// gotChunk takes a part of a body.
func (r *reader) gotChunk(f *frame) error {
	b := r.bulksIn[f.head[fBulk]]
	if b == nil || !b.granted.Load() || len(f.body) == 0 || int64(len(b.buf)+len(f.body)) > b.size {
		return fmt.Errorf("%w: chunk of %d bytes that was not asked for", errMalformed, len(f.body))
	}
	if to := b.place(len(f.body)); &to[0] != &f.body[0] { // else it was read to where it belongs
		copy(to, f.body)
	}
	b.buf = b.buf[:len(b.buf)+len(f.body)]
	b.unacked += len(f.body)
	whole := int64(len(b.buf)) == b.size
	if b.unacked >= chunkAck && !whole { // then nobody waits for it
		r.link.frame(frameChunkAck, &head{fBulk: b.id, fSize: uint64(b.unacked)})
		r.soon()
		b.unacked = 0
	}
	if !whole {
		return nil
	}
	r.endBulk(b)
	return r.assembled(b)
}

// assembled handles a frame whose body is whole.
func (r *reader) assembled(b *bulkIn) error {
	b.f.body = b.buf
	b.f.head[fTimeLeft] = wholeMs(b.deadline - r.now) // it has taken its time
	switch b.kind {
	case frameReply:
		r.gotReply(&b.f, true)
		return nil
	case frameBounce:
		return r.gotBounce(&b.f, true)
	}
	e := r.entry(&b.f, b.cost)
	e.deadline = b.deadline
	r.fanOut(&e, &b.f, b.ins, b.buf)
	return nil
}

// gotBulkReset throws a frame away that its sender takes back.
func (r *reader) gotBulkReset(f *frame) {
	b := r.bulksIn[f.head[fBulk]]
	if b == nil {
		return // refused
	}
	r.endBulk(b)
	var free []*Consumer
	r.link.mu.Lock()
	for _, in := range b.ins {
		in.received--
		in.taken -= b.cost
		r.unsettledIn.Add(-1)
		free = r.freeLocked(in, free)
	}
	r.link.mu.Unlock()
	r.core.unpin(free...)
	r.core.poke()
}

// endBulk forgets a body that is whole, or will not be.
func (r *reader) endBulk(b *bulkIn) {
	delete(r.bulksIn, b.id)
	b.late.Stop()
	r.core.assembly.release(&b.reservation)
}

// endBulks gives back what is reserved when the link has ended.
func (r *reader) endBulks() {
	for _, b := range r.bulksIn {
		r.endBulk(b)
	}
}
