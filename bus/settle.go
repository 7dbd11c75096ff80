package bus

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// inbound is the receiving end of a route: what one node sends to a consumer of
// this one.
type inbound struct {
	consumer *Consumer
	link     *link
	origin   *origin // of the link's reader; nil: nothing has come

	owed     atomic.Uint64 // settled, but not yet told: messages<<owedBits | bytes
	window   atomic.Int64  // changed under link.mu
	behind   mark          // in the outbox, that its addition comes after
	starved  atomic.Int64  // when its sender last had to wait
	growth   growth        // of the window; of the link's reader
	received int64         // messages; of the link's reader
	taken    int64         // their bytes
	paid     int64         // of those, the ones given back when the reader last looked

	// Guarded by link.mu.
	resized   uint32 // how often another window has been told
	stage     stage
	known     bool        // the peer has acknowledged the addition: copies of a publish are its too (rule 14)
	listed    bool        // in link.dues
	returning bool        // a large message is being sent back
	settled   int64       // messages for which credit or a bounce has been written
	returned  int64       // their bytes
	held      *[]*Message // to be sent back once the removal, or a large message before them, is written; nil: none
}

// stage is how far the life of an inbound has got, in this order: see "States" in
// PROTOCOL.md.
type stage uint8

const (
	// The consumer is registered. The peer cannot know its number.
	inNew stage = iota

	// The addition is written: messages come and wait in the mailbox.
	inAnnounced

	// The consumer is closed. What comes is kept until the removal is written (rule 4),
	// and the consumer's number pinned, as the peer knows it.
	inRemoving

	// The removal, or LEAVING, is written. What comes is sent back.
	inRetracted

	// The removal, or LEAVING, is acknowledged: nothing comes any more.
	inGone

	// All that came is settled, or the link has ended, or the peer has never heard of the
	// consumer: the link pins its number no longer (rule 3).
	inFreed
)

const owedBits = 40

// inbound returns the end of the route on which the message came over a link.
func (m *Message) inbound() *inbound { return m.in.back.(*inbound) }

// from returns the origin of what comes. The link's reader calls it.
func (in *inbound) from() *origin {
	if in.origin == nil {
		in.origin = &origin{services: in.link.services, to: in.consumer, back: in, linked: true}
	}
	return in.origin
}

func (in *inbound) sender(m *Message) string                  { return in.link.sender(m) }
func (in *inbound) reply(ctx context.Context, r *reply) error { return in.link.reply(ctx, r) }
func (in *inbound) answered(m *Message)                       { in.link.answered(m) }
func (in *inbound) soon()                                     { in.link.soon() }
func (in *inbound) flush()                                    { in.link.flush() }

func (in *inbound) intercept(ctx context.Context, m *Message, verb string, body any, opts []CallOption) (*Message, bool, error) {
	return in.link.intercept(ctx, m, verb, body, opts)
}

func (in *inbound) handled(m *Message) flusher {
	if in.settle(m) || m.kind() == kindRequest {
		return in.link
	}
	return nil
}

// A link is the way back of a reply that came over it.
func (l *link) sender(*Message) string   { return l.peer.Name }
func (l *link) handled(*Message) flusher { return nil }

func (l *link) intercept(ctx context.Context, m *Message, verb string, body any, opts []CallOption) (*Message, bool, error) {
	return l.out.interceptReply(ctx, m, verb, body, opts)
}

// payDelay is how long settled messages may go untold (rule 12).
const payDelay = 20 * time.Millisecond

// settle notes that a message was handled, or will not be. It reports whether
// it left a frame in the link's buffer.
func (in *inbound) settle(m *Message) bool {
	delta := 1<<owedBits | uint64(m.charge)
	owed := in.owed.Add(delta)
	switch {
	case int64(owed&(1<<owedBits-1)) >= in.window.Load()/2 || in.link.eager.Load():
		in.link.pay(in)
		return true
	case owed == delta:
		in.link.payLater(in)
	}
	return false
}

// dues is who has settled something that a link has yet to tell its peer. It is
// guarded by link.mu.
type dues struct {
	owing []*inbound
	timer *time.Timer // tells it; nil: nothing was owed yet
}

// add lists an inbound, to be paid soon by pay.
func (d *dues) add(in *inbound, pay func()) {
	in.listed = true
	if d.owing = append(d.owing, in); len(d.owing) > 1 {
		return
	}
	if d.timer == nil {
		d.timer = time.AfterFunc(payDelay, pay)
	} else {
		d.timer.Reset(payDelay)
	}
}

// end forgets all.
func (d *dues) end() {
	d.owing = nil
	if d.timer != nil {
		d.timer.Stop()
	}
}

// payLater sees to it that what in owes is told soon.
func (l *link) payLater(in *inbound) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !in.listed && l.err == nil {
		l.dues.add(in, l.payAll)
	}
}

// payAll tells all that is settled.
func (l *link) payAll() {
	l.mu.Lock()
	free := l.payAllLocked(nil)
	l.mu.Unlock()
	l.soon()
	l.owner.unpin(free...)
	l.leave.recheck()
}

// payAllLocked is payAll without what is to be done once the lock is free: it appends
// to free the consumers with which the link has nothing more to do.
func (l *link) payAllLocked(free []*Consumer) []*Consumer {
	for _, in := range l.dues.owing {
		in.listed = false
		free = l.payLocked(in, free)
	}
	clear(l.dues.owing)
	l.dues.owing = l.dues.owing[:0]
	return free
}

// pay tells what in owes.
func (l *link) pay(in *inbound) {
	l.mu.Lock()
	free := l.payLocked(in, nil)
	l.mu.Unlock()
	l.owner.unpin(free...)
	l.leave.recheck()
}

// payLocked appends the credit of in, and in's consumer to free if that was the
// last that this link had to do with it.
func (l *link) payLocked(in *inbound, free []*Consumer) []*Consumer {
	owed := in.owed.Swap(0)
	if owed == 0 || l.err != nil {
		return free
	}
	n, bytes := owed>>owedBits, owed&(1<<owedBits-1)
	h := frame.Head{frame.FRoute: uint64(in.consumer.num), frame.FBytes: bytes, frame.FMessages: n}
	if in.shrinkLocked(int64(bytes)) {
		in.resized++
		h[frame.FWindow] = uint64(in.window.Load())
	}
	l.frameLocked(frame.Credit, &h)
	in.settled += int64(n)
	in.returned += int64(bytes)
	l.unsettledIn.Add(-int64(n))
	return l.freeLocked(in, free)
}

// freeLocked (rule 3) appends in's consumer to free if the link holds nothing of it any
// more: its removal is acknowledged and all that came is settled.
func (l *link) freeLocked(in *inbound, free []*Consumer) []*Consumer {
	if in.stage != inGone || in.received != in.settled {
		return free
	}
	in.stage = inFreed
	in.giveBack()
	if num := in.consumer.num; l.ins[num] == in {
		l.ins[num] = nil
		l.ins = trimmed(l.ins)
	}
	return append(free, in.consumer)
}

// sendBack sends messages that waited at a closed consumer back to where they
// came from. Those that came on a link are held there already.
func (c *core) sendBack(msgs []*Message) {
	for _, m := range msgs {
		switch {
		case m.state()&byGossip != 0:
			m.in.to.(*Consumer).local.home.lose(LossDropped, 1)
		case !m.in.linked:
			c.takeBack(m)
		}
	}
	if len(msgs) > 0 {
		c.work.placing.Add(-int32(len(msgs)))
		c.leave.recheck()
	}
}

// takeBack takes back a message of this node's from a closing consumer of its
// own.
func (c *core) takeBack(m *Message) {
	cn := m.in.to.(*Consumer)
	cn.mu.Lock()
	cn.local.settle(int64(m.charge), 1)
	over := cn.overLocked()
	cn.mu.Unlock()
	if over {
		c.consumerOver(cn)
	}
	if m.lapsed() {
		c.stats.add(countSettled, 1)
		cn.local.home.bookFate(m)
		return
	}
	if m.kind() == kindPublish {
		c.stats.add(countSettled, 1)
		cn.local.home.lose(LossDropped, 1)
		return
	}
	c.stats.add(countBounced, 1)
	cn.local.home.book(countBounced, 1)
	o := outgoing{header: m.Header(), body: m.Body, owned: true, cost: int64(m.charge), deadline: m.deadline, codec: m.codec()}
	o.head[frame.FKind], o.head[frame.FCodec], o.head[frame.FHops] = uint64(m.kind()), wireCodec(m.codec()), nextHop(m.hops())
	if m.kind() == kindRequest {
		if o.call = c.own.pend.take(m.id); o.call == nil {
			return // it has ended
		}
	}
	o.chosen(m.id)
	c.reroute(cn.address, &o, false)
}

// bounce sends a message back over its link: at once if the removal of its
// route has been written there, else after it (rule 4).
func (l *link) bounce(m *Message) {
	l.mu.Lock()
	var free []*Consumer
	if in := m.inbound(); in.stage >= inRetracted || l.err != nil {
		free = l.bounceLocked(m, nil)
	} else {
		in.hold(m)
	}
	l.mu.Unlock()
	l.soon()
	l.owner.unpin(free...)
	l.leave.recheck()
}

// bounceLocked appends a message that is sent back. Once GOODBYE is written, or has
// come, nothing is: the message is cut off, as its sender counts it as unknown.
func (l *link) bounceLocked(m *Message, free []*Consumer) []*Consumer {
	in := m.inbound()
	if l.err != nil || l.bye {
		in.cutOff(1)
		return free
	}
	cn := in.consumer
	num := uint64(cn.num)
	credit := frame.Head{frame.FRoute: num, frame.FBytes: uint64(m.charge), frame.FMessages: 1}
	switch {
	case m.lapsed():
		cn.local.home.bookFate(m)
		l.frameLocked(frame.Credit, &credit)
	case m.kind() == kindPublish:
		cn.local.home.lose(LossDropped, 1)
		l.frameLocked(frame.Credit, &credit)
	case in.returning: // behind that, so that what is sent back is in order
		in.hold(m)
		return free
	default:
		h := frame.Head{frame.FKind: uint64(m.kind()), frame.FRoute: num, frame.FCodec: wireCodec(m.codec()), frame.FHops: nextHop(m.hops())}
		if h[frame.FID] = m.id; m.kind() == kindSend {
			h[frame.FID], h[frame.FChoice] = 0, m.id
		}
		rest := l.codecs.field(m.codec())
		if len(m.Body) > chunked {
			l.bounceLargeLocked(m, h, rest)
			return free // it is settled when it is written
		}
		h[frame.FTimeLeft] = l.leftLocked(m.deadline)
		l.buf = append(frame.Append(l.buf, frame.Bounce, &h, m.Header(), rest, len(m.Body)), m.Body...)
		l.returned()
		l.sentBackLocked(in)
	}
	return l.settledLocked(m, free)
}

// sentBack is a message that was appended to be sent back.
type sentBack struct {
	in *inbound
	at mark
}

// sentBackLocked notes a message that was appended, until it is written.
func (l *link) sentBackLocked(in *inbound) {
	i := 0
	for l.state != writeRunning && i < len(l.back) && l.written(l.back[i].at) {
		i++
	}
	l.back = append(slices.Delete(l.back, 0, i), sentBack{in, mark(l.swaps + 1)})
}

// cutOffUnwrittenLocked counts what was to be sent back and had not been written when
// the link ended.
func (l *link) cutOffUnwrittenLocked() {
	for _, b := range l.back {
		if !l.written(b.at) {
			b.in.cutOff(1)
		}
	}
	l.back = nil
}

// bounceExpiredLocked settles a large message that could not be sent back in time.
func (l *link) bounceExpiredLocked(m *Message) {
	cn := m.inbound().consumer
	m.expire()
	cn.local.home.bookFate(m)
	l.frameLocked(frame.Credit, &frame.Head{frame.FRoute: uint64(cn.num), frame.FBytes: uint64(m.charge), frame.FMessages: 1})
	l.freed = l.settledLocked(m, l.freed)
}

// settledLocked notes that a message has been settled by what was written (rule 2).
func (l *link) settledLocked(m *Message, free []*Consumer) []*Consumer {
	in := m.inbound()
	in.settled++
	in.returned += int64(m.charge)
	l.unsettledIn.Add(-1)
	return l.freeLocked(in, free)
}
