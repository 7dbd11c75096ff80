package bus

import (
	"context"
	"fmt"
	"slices"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// What comes back over a link for what was sent: replies, credit, messages
// unhandled, and requests that their callers gave up.

// gotReply answers a request (rule 15); owned says that the body is not in the read
// buffer.
func (l *link) gotReply(f *frame.Frame, owned bool) {
	c := l.pend.take(f.ID())
	ask := f.Ask()
	if c == nil { // it has ended
		l.stats.add(countLateReplies, 1)
		l.notAnswered(ask, errGone)
		return
	}
	r := reply{
		failed: f.Failed(), code: f.Code(), header: f.Header,
		body: f.Body, codec: l.codecs.number(f), shared: !owned,
	}
	a := answerOf(&l.replied, &r)
	switch {
	case r.codec == codecUnknown:
		codec := describeCodec(f.Codec(), f.CodecName)
		a = answer{err: fmt.Errorf("bus: the reply from %s is encoded by %s, which this node does not have (WithCodec)", l.peer.Name, codec), in: &l.replied}
		l.notAnswered(ask, l.noCodec("the question", codec))
	case ask != 0 && a.err == nil:
		l.asked(a.m, ask, l.deadline(f, l.clock.now()))
	}
	if !c.answer(a) && a.m != nil {
		a.m.fail(errGone) // nothing, unless it asks
		l.soon()
	}
	l.leave.recheck()
}

// gotLateReply ends a request whose reply was too late to be taken in.
func (l *link) gotLateReply(f *frame.Frame) {
	l.stats.add(countLateReplies, 1)
	l.notAnswered(f.Ask(), errGone)
	if c := l.pend.take(f.ID()); c != nil {
		c.answer(answer{err: fmt.Errorf("bus: no reply in time: %w", context.DeadlineExceeded)})
	}
	l.leave.recheck()
}

// answerOf makes a reply a request's answer.
func answerOf(in *origin, r *reply) answer {
	if r.failed {
		return answer{err: &ReplyError{Code: r.code, Message: string(r.body)}, in: in}
	}
	m := newMessage(r.body, !r.shared)
	m.in, m.word = in, traits(0, r.codec, 0)
	m.setHeader(r.header)
	return answer{m: m, in: in}
}

// gotCredit books what the peer's consumer has settled.
func (l *link) gotCredit(f *frame.Frame) error {
	rt := l.route(f.Route())
	if rt == nil {
		return fmt.Errorf("%w: credit for route %d, which is not there", frame.ErrMalformed, f.Route())
	}
	if w := f.Window(); w > maxWindow {
		return fmt.Errorf("%w: window of %d bytes for route %d", frame.ErrMalformed, w, rt.num)
	}
	if err := l.settled(rt, f.Bytes(), f.Messages(), f.Window()); err != nil {
		return err
	}
	l.stats.add(countSettled, f.Messages())
	rt.home.grant()
	l.leave.recheck()
	return nil
}

// settled takes messages back into a route's balance, and takes over its new
// window unless that is 0: in one step, as the window may shrink by what comes
// back.
func (l *link) settled(rt *route, bytes, messages, window uint64) error {
	if err := l.owes(rt, bytes, messages); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if window > 0 {
		l.resizeLocked(rt, int64(window))
	}
	rt.settle(int64(bytes), int64(messages))
	l.forgetLocked(rt)
	l.outside -= int64(messages)
	return nil
}

// owes checks that so much is under way on a route, all of which has been sent.
func (l *link) owes(rt *route, bytes, messages uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent, used := rt.unsettled, rt.used
	if rt.bulks > 0 {
		sent, used = l.bulks.less(rt, sent, used)
	}
	if messages > uint64(sent) || bytes > uint64(used) {
		return fmt.Errorf("%w: %d messages of %d bytes settled on route %d, where %d of %d are under way", frame.ErrMalformed, messages, bytes, rt.num, sent, used)
	}
	return nil
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
	if !ended { // first placed or waiting, then settled: leaving looks at both
		o.chosen(f.Choice())
		l.rings.reroute(rt.home.address, &o, false)
	}
	return l.bounced(rt, cost)
}

// bounced books what was sent back.
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

// gotCancel ends the context of a request's handler, or its turn in the mailbox
// (rule 5).
func (l *link) gotCancel(f *frame.Frame) {
	if f.Route() == 0 {
		l.questionOver(f.ID(), stateCanceled)
		return
	}
	l.mu.Lock()
	in := l.inLocked(uint32(min(f.Route(), maxRoutes)))
	l.mu.Unlock()
	if in == nil {
		return // handled, or sent back
	}
	c := in.consumer
	c.mu.Lock()
	m := c.box.find(in.origin, f.ID())
	c.mu.Unlock()
	if m != nil {
		m.end(stateCanceled)
		c.gaveUp()
	}
}
