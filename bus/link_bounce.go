package bus

import (
	"context"
	"fmt"
	"slices"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// bounce sends a message back over its link (rule 4): at once if the removal of its route
// has been written on the link, else the message is held until fill writes the removal.
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

// bounceLocked appends a message that is sent back. Once GOODBYE is written, or has come,
// it appends nothing: the message is cut off, and its sender counts it as unknown.
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
		cn.local.home.bookOutcome(m)
		l.frameLocked(frame.Credit, &credit)
	case m.kind() == kindPublish:
		cn.local.home.lose(LossDropped, 1)
		l.frameLocked(frame.Credit, &credit)
	case in.returning: // a large message is being sent back: m goes behind it, in order
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
			return free // m is settled when its last chunk is written
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

// cutOffUnwrittenLocked counts the messages to be sent back that had not been written when
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
	cn.local.home.bookOutcome(m)
	l.frameLocked(frame.Credit, &frame.Head{frame.FRoute: uint64(cn.num), frame.FBytes: uint64(m.charge), frame.FMessages: 1})
	l.freed = l.settledLocked(m, l.freed)
}

// byLink parts messages by the links that they came on.
func byLink(msgs []*Message) map[*link][]*Message {
	by := map[*link][]*Message{}
	for _, m := range msgs {
		if m.in.linked {
			l := m.inbound().link
			by[l] = append(by[l], m)
		}
	}
	return by
}

// hold keeps a message until the removal of its route is written.
func (in *inbound) hold(m *Message) {
	if in.held == nil {
		in.held = new([]*Message)
	}
	*in.held = append(*in.held, m)
}

// holdLocked keeps the messages that came on the link and waited at consumers that have
// closed: ahead of messages that have come since the consumer closed and are held
// already.
func (l *link) holdLocked(waited []*Message) {
	if len(waited) == 0 {
		return
	}
	since := map[*inbound]*[]*Message{}
	for _, m := range waited {
		in := m.inbound()
		if _, ok := since[in]; !ok {
			since[in], in.held = in.held, nil
		}
		in.hold(m)
	}
	for in, ms := range since {
		if ms != nil {
			*in.held = append(*in.held, *ms...)
		}
	}
}

// cutOffHeld counts the messages that were held on a link that has ended.
func (in *inbound) cutOffHeld() {
	if in.held != nil {
		in.cutOff(len(*in.held))
		in.held = nil
	}
}

// cutOff counts messages that are dropped as their link has ended.
func (in *inbound) cutOff(n int) {
	in.consumer.local.home.lose(LossCutOff, n)
}

// bounceHeldLocked sends back the messages that were held, in order, up to a large one:
// those behind it are held until it is written. It appends in's consumer to
// free if that was the last that this link had to do with it.
func (l *link) bounceHeldLocked(in *inbound, free []*Consumer) []*Consumer {
	if in.held == nil {
		return free
	}
	held := *in.held
	in.held = nil
	for _, m := range held {
		free = l.bounceLocked(m, free)
	}
	return free
}

// bouncedLocked goes on when a large message has been sent back (rule 24): it sends back the
// messages that were held behind it, and appends ROUTES_DONE if it was the last one of its
// consumer.
func (l *link) bouncedLocked(in *inbound) {
	l.bulks.bounces--
	in.returning = false
	l.freed = l.bounceHeldLocked(in, l.freed)
	l.endLocked(in)
}

// endLocked (rule 24) appends ROUTES_DONE: for a consumer for which no message comes any
// more, once its last one has been sent back; or for all consumers when this node leaves.
func (l *link) endLocked(in *inbound) {
	switch {
	case l.ours < oursLeaving && in.stage >= inGone && !in.returning:
		l.frameLocked(frame.RoutesDone, &frame.Head{frame.FRoute: uint64(in.consumer.num)})
		l.returned()
	case l.ours >= oursLeft && l.bulks.bounces == 0:
		l.frameLocked(frame.RoutesDone, &frame.Head{})
	}
}

// gotBounce takes a message back and routes it elsewhere; owned says that the
// body is not in the read buffer.
func (l *link) gotBounce(f *frame.Frame, owned bool) error {
	rt := l.route(f.Route())
	if rt == nil || f.Kind() != kindSend && f.Kind() != kindRequest {
		return fmt.Errorf("%w: bounce of kind %d of route %d", frame.ErrMalformed, f.Kind(), f.Route())
	}
	cost := cost(len(f.Body), f.Header)
	if err := l.owes(rt, uint64(cost), 1); err != nil {
		return err
	}
	o := outgoing{
		header: f.Header, body: f.Body, owned: true, cost: cost,
		deadline: l.deadline(f, l.clock.now()),
	}
	if !owned {
		o.body = slices.Clone(f.Body)
	}
	if o.codec = l.codecs.number(f); o.codec == codecUnknown {
		return fmt.Errorf("%w: bounce of route %d with %s, which this node cannot have used", frame.ErrMalformed, f.Route(), describeCodec(f.Codec(), f.CodecName))
	}
	o.head[frame.FKind], o.head[frame.FCodec], o.head[frame.FHops] = f.Kind(), f.Codec(), f.Hops()
	ended := false
	if f.Kind() == kindRequest {
		o.call = l.pend.take(f.ID())
		ended = o.call == nil
	}
	if !ended { // it is placed, or waits, before it is settled: so leaving sees it in one of the two counts
		o.chosen(f.Choice())
		l.rings.reroute(rt.home.address, &o, false)
	}
	return l.bounced(rt, cost)
}

// bounced books a message that was sent back.
func (l *link) bounced(rt *route, cost int64) error {
	if err := l.settled(rt, uint64(cost), 1, 0); err != nil {
		return err
	}
	l.stats.add(countBounced, 1)
	rt.home.book(countBounced, 1)
	l.leave.recheck()
	return nil
}

// gotLateBounce ends a message that was sent back too late to be taken in.
func (l *link) gotLateBounce(f *frame.Frame, cost int64) error {
	rt := l.route(f.Route())
	if rt == nil {
		return fmt.Errorf("%w: bounce of route %d, which is not there", frame.ErrMalformed, f.Route())
	}
	if err := l.owes(rt, uint64(cost), 1); err != nil {
		return err
	}
	o := outgoing{header: f.Header, cost: cost}
	o.head[frame.FKind] = f.Kind()
	if f.Kind() == kindRequest {
		o.call = l.pend.take(f.ID())
	}
	if f.Kind() == kindSend || o.call != nil {
		l.rings.dead(rt.home.address, &o, fmt.Errorf("%w: it was sent back too late: %w", ErrNoConsumer, context.DeadlineExceeded))
	}
	return l.bounced(rt, cost)
}
