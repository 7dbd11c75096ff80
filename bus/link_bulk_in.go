package bus

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// bulkIn is a frame whose large body comes in chunks.
type bulkIn struct {
	reservation
	link    *link
	kind    int
	f       frame.Frame // without the body
	ins     []*inbound  // of a message: where it goes
	cost    int64
	come    int64 // bytes
	begun   int64 // when the first of them came
	unacked int

	deadline int64
	late     *time.Timer // throws it away when it is of no use any more

	mu   sync.Mutex
	buf  []byte
	over bool // it is thrown away: what still comes of it is skipped
}

// bulkLimit bounds the time for which a peer may have memory for a large body,
// whatever the deadline that it names.
const bulkLimit = time.Hour

// gotBulk (rule 21, rule 22) begins a frame with a large body. Its routes are looked up
// when BULK arrives, not when the last chunk does: changes of routes meanwhile do not count.
func (r *receiver) gotBulk(f *frame.Frame) error {
	size, kind := f.Size(), f.StandsFor()
	b := &bulkIn{link: r.link, reservation: reservation{peer: r.link, id: f.Bulk(), size: int64(size)}, kind: kind}
	if err := b.f.Parse(f.Body); err != nil {
		return err
	}
	if size <= chunked || len(r.bulksIn) >= bulksAhead || r.bulksIn[b.id] != nil || b.f.Body != nil {
		return fmt.Errorf("%w: body of %d bytes in chunks, beside %d others", frame.ErrMalformed, size, len(r.bulksIn))
	}
	if limit := uint64(r.bodyLimit); size > limit {
		r.link.frame(frame.BulkReset, &frame.Head{frame.FBulk: b.id, frame.FSize: limit, frame.FRefused: frame.RefusedLarge})
		r.soon()
		return nil
	}
	b.f.CodecName, b.f.Address = slices.Clone(b.f.CodecName), slices.Clone(b.f.Address) // they are part of the read buffer
	b.cost = cost(int(size), b.f.Header)
	if err := r.address(b); err != nil {
		return err
	}
	b.deadline = r.deadline(&b.f)
	if kind == frame.Reply && b.f.Ask() == 0 {
		b.deadline = r.pend.deadline(b.f.ID())
	}
	if r.bulksIn == nil {
		r.bulksIn = map[uint64]*bulkIn{}
	}
	r.bulksIn[b.id] = b
	r.budget.ask(&b.reservation, r.comesSoon(b.size))
	b.late = time.AfterFunc(min(time.Duration(b.deadline-r.now), bulkLimit), b.throwAway)
	return nil
}

// grantBulk tells the peer how many bytes of a body may come so far.
func (l *link) grantBulk(id uint64, held, size int64) {
	h := frame.Head{frame.FBulk: id}
	if held < size {
		h[frame.FSize] = uint64(held)
	}
	l.frame(frame.BulkGo, &h)
	l.soon()
}

// throwAway (rule 23) gives the memory back of a body that has not come in time. Its sender
// takes it back at the deadline by itself, but may see it later than this node does,
// or not at all; so it is asked to, and what is under way is skipped.
func (b *bulkIn) throwAway() {
	b.mu.Lock()
	b.buf, b.over = nil, true
	b.mu.Unlock()
	b.link.budget.release(&b.reservation)
	b.link.frame(frame.BulkReset, &frame.Head{frame.FBulk: b.id, frame.FRefused: frame.RefusedLate})
	b.link.soon()
}

// address finds where a large message goes, and counts it as come.
func (r *receiver) address(b *bulkIn) error {
	switch b.kind {
	case frame.Reply, frame.Bounce, frame.Handover:
		return nil
	}
	kind := b.f.Kind()
	if b.kind != frame.Msg || kind < kindSend || kind > kindPublish {
		return fmt.Errorf("%w: chunks for a frame %d of kind %d", frame.ErrMalformed, b.kind, kind)
	}
	in := r.inbounds.get(b.f.Route())
	if in == nil {
		return fmt.Errorf("%w: message for route %d, which is not there", frame.ErrMalformed, b.f.Route())
	}
	b.ins = []*inbound{in}
	switch {
	case kind != kindPublish && in.consumer.made&madePublished != 0:
		return in.notPublished(kind)
	case kind == kindPublish:
		skip, err := frame.Numbers(b.f.Skipped)
		if err != nil {
			return err
		}
		b.ins = r.charged(in, skip)
	}
	for _, in := range b.ins {
		if err := in.take(b.cost, &b.f, &r.times); err != nil {
			return err
		}
		r.inbounds.unsettled.Add(1)
	}
	return nil
}

// place returns where the next n bytes belong, nil if they are too many.
func (b *bulkIn) place(n int, now int64) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	end := int(b.come) + n
	switch held := b.held.Load(); {
	case int64(end) > b.size:
		return nil
	case b.over:
		return b.link.bodies.Get(n)
	case int64(end) > held:
		return nil
	case end > cap(b.buf):
		b.buf = append(b.link.bodies.Get(int(held))[:0], b.buf[:b.come]...)
	}
	if b.begun == 0 {
		b.begun = now
	}
	return b.buf[b.come:end]
}

// gotChunk takes a part of a body.
func (r *receiver) gotChunk(f *frame.Frame) error {
	b, n := r.bulksIn[f.Bulk()], len(f.Body)
	if b == nil || n == 0 {
		return fmt.Errorf("%w: chunk of %d bytes that was not asked for", frame.ErrMalformed, n)
	}
	to := b.place(n, r.now)
	if to == nil {
		return fmt.Errorf("%w: chunk of %d bytes behind %d of %d that there is room for", frame.ErrMalformed, n, b.come, b.held.Load())
	}
	if &to[0] != &f.Body[0] { // else it was read to where it belongs
		copy(to, f.Body)
	}
	return r.came(b, n)
}

// came notes that the next n bytes of a body are in their place.
func (r *receiver) came(b *bulkIn, n int) error {
	b.come += int64(n)
	b.unacked += n
	if b.come == b.size {
		r.endBulk(b)
		return r.assembled(b)
	}
	if b.unacked >= chunkAck { // at the end nobody waits for it
		r.link.frame(frame.ChunkAck, &frame.Head{frame.FBulk: b.id, frame.FSize: uint64(b.unacked)})
		r.soon()
		b.unacked = 0
	}
	if held := b.held.Load(); held < b.size && 2*b.come >= held {
		r.measure(b)
		r.budget.more(&b.reservation, r.comesSoon(b.size-b.come))
	}
	return nil
}

// measure notes how fast a body comes, once there is enough of it to tell.
func (r *receiver) measure(b *bulkIn) {
	if b.come < firstStep {
		return
	}
	if took := r.now - b.begun; took > 0 {
		r.pace = float64(b.come) / float64(took)
	} else {
		r.pace = math.Inf(1)
	}
}

// comesSoon reports whether so many bytes may be expected soon, by how fast the
// last ones came.
func (r *receiver) comesSoon(bytes int64) bool {
	return float64(bytes) <= r.pace*float64(soonWithin)
}

// assembled handles a frame whose body is whole.
func (r *receiver) assembled(b *bulkIn) error {
	r.measure(b)
	b.mu.Lock()
	body, over := b.buf, b.over
	b.mu.Unlock()
	if over {
		return r.overdue(b)
	}
	body = body[:b.size]
	b.f.Body = body
	b.f.Due = b.deadline
	switch b.kind {
	case frame.Reply:
		r.gotReply(&b.f, true)
		return nil
	case frame.Bounce:
		return r.gotBounce(&b.f, true)
	case frame.Handover:
		return r.gotHandover(&b.f, true)
	}
	e := r.entry(&b.f, b.cost)
	e.deadline = b.deadline
	r.fanOut(&e, &b.f, b.ins, body)
	return nil
}

// overdue ends a frame whose body was thrown away and has been sent to its end
// all the same.
func (r *receiver) overdue(b *bulkIn) error {
	switch b.kind {
	case frame.Reply:
		r.gotLateReply(&b.f)
		return nil
	case frame.Bounce:
		return r.gotLateBounce(&b.f, b.cost)
	case frame.Handover:
		r.rings.dead(string(b.f.Address), &outgoing{}, errLateHandover)
		return nil
	}
	e := r.entry(&b.f, b.cost)
	for _, in := range b.ins {
		m := new(Message)
		e.message(m, in)
		m.expire()
		in.consumer.local.home.bookOutcome(m)
		in.settle(m)
	}
	r.link.soon()
	return nil
}

// gotBulkReset throws a frame away that its sender takes back.
func (r *receiver) gotBulkReset(f *frame.Frame) {
	b := r.bulksIn[f.Bulk()]
	if b == nil {
		return // refused
	}
	r.endBulk(b)
	var free []*Consumer
	r.writer.mu.Lock()
	for _, in := range b.ins {
		in.received--
		in.taken -= b.cost
		r.inbounds.unsettled.Add(-1)
		free = r.inbounds.freeLocked(in, free)
	}
	r.writer.mu.Unlock()
	r.owner.unpin(free...)
	r.leave.recheck()
}

// endBulk forgets a body that is whole, or will not be.
func (r *receiver) endBulk(b *bulkIn) {
	delete(r.bulksIn, b.id)
	b.late.Stop() // what it does meanwhile does no harm
	r.budget.release(&b.reservation)
}

// endBulks gives back what is reserved when the link has ended.
func (r *receiver) endBulks() {
	for _, b := range r.bulksIn {
		r.endBulk(b)
	}
}
