package bus

import (
	"context"
	"fmt"
	"slices"
)

// What comes back over a link for what was sent: replies, credit, messages
// unhandled, and requests that their callers gave up.

// gotReply answers a request (rule 15); owned says that the body is not in the read
// buffer.
func (l *link) gotReply(f *frame, owned bool) {
	c := l.pend.take(f.head[fID])
	ask := f.head[fAsk]
	if c == nil { // it has ended
		l.core.stats.lateReplies.Add(1)
		l.notAnswered(ask, errGone)
		return
	}
	r := reply{
		failed: f.head[fFailed] != 0, code: unzigzag(f.head[fCode]), header: f.header,
		body: f.body, codec: l.core.codecs.number(f), shared: !owned,
	}
	a := l.core.answerOf(&l.replied, &r)
	switch {
	case r.codec == codecUnknown:
		codec := describeCodec(f.head[fCodec], f.codecName)
		a = answer{err: fmt.Errorf("bus: the reply from %s is encoded by %s, which this node does not have (WithCodec)", l.peer.Name, codec), in: &l.replied}
		l.notAnswered(ask, l.core.noCodec("the question", codec))
	case ask != 0 && a.err == nil:
		l.asked(a.m, ask, l.deadline(f, l.core.clock()))
	}
	if !c.answer(a) && a.m != nil {
		a.m.fail(errGone) // nothing, unless it asks
		l.soon()
	}
	l.core.poke()
}

// gotLateReply ends a request whose reply was too late to be taken in.
func (l *link) gotLateReply(f *frame) {
	l.core.stats.lateReplies.Add(1)
	l.notAnswered(f.head[fAsk], errGone)
	if c := l.pend.take(f.head[fID]); c != nil {
		c.answer(answer{err: fmt.Errorf("bus: no reply in time: %w", context.DeadlineExceeded)})
	}
	l.core.poke()
}

// answerOf makes a reply a request's answer.
func (c *core) answerOf(in *inbound, r *reply) answer {
	if r.failed {
		return answer{err: &ReplyError{Code: r.code, Message: string(r.body)}, in: in}
	}
	m := newMessage(r.body, !r.shared)
	m.in, m.word = in, traits(0, r.codec, 0)
	m.setHeader(r.header)
	return answer{m: m, in: in}
}

// gotCredit books what the peer's consumer has settled.
func (l *link) gotCredit(f *frame) error {
	rt := l.route(f.head[fRoute])
	if rt == nil {
		return fmt.Errorf("%w: credit for route %d, which is not there", errMalformed, f.head[fRoute])
	}
	if w := f.head[fWindow]; w > maxWindow {
		return fmt.Errorf("%w: window of %d bytes for route %d", errMalformed, w, rt.num)
	}
	if err := l.settled(rt, f.head[fBytes], f.head[fMessages], f.head[fWindow]); err != nil {
		return err
	}
	l.core.stats.settled.Add(f.head[fMessages])
	rt.ring.grant()
	l.core.poke()
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
		return fmt.Errorf("%w: %d messages of %d bytes settled on route %d, where %d of %d are under way", errMalformed, messages, bytes, rt.num, sent, used)
	}
	return nil
}

// gotBounce takes a message back and routes it elsewhere; owned says that the
// body is not in the read buffer.
func (l *link) gotBounce(f *frame, owned bool) error {
	rt := l.route(f.head[fRoute])
	if rt == nil || f.head[fKind] != kindSend && f.head[fKind] != kindRequest {
		return fmt.Errorf("%w: bounce of kind %d of route %d", errMalformed, f.head[fKind], f.head[fRoute])
	}
	cost := cost(len(f.body), f.header)
	if err := l.owes(rt, uint64(cost), 1); err != nil {
		return err
	}
	o := outgoing{
		header: f.header, body: f.body, owned: true, cost: cost,
		deadline: l.deadline(f, l.core.clock()),
	}
	if !owned {
		o.body = slices.Clone(f.body)
	}
	if o.codec = l.core.codecs.number(f); o.codec == codecUnknown {
		return fmt.Errorf("%w: bounce of route %d with %s, which this node cannot have used", errMalformed, f.head[fRoute], describeCodec(f.head[fCodec], f.codecName))
	}
	o.head[fKind], o.head[fCodec], o.head[fHops] = f.head[fKind], f.head[fCodec], f.head[fHops]
	ended := false
	if f.head[fKind] == kindRequest {
		o.call = l.pend.take(f.head[fID])
		ended = o.call == nil
	}
	if !ended { // first placed or waiting, then settled: leaving looks at both
		o.chosen(f.head[fID])
		l.core.reroute(rt.ring.address, &o, false)
	}
	return l.bounced(rt, cost)
}

// bounced books what was sent back.
func (l *link) bounced(rt *route, cost int64) error {
	if err := l.settled(rt, uint64(cost), 1, 0); err != nil {
		return err
	}
	l.core.stats.bounced.Add(1)
	rt.ring.book(rareBounced, 1)
	l.core.poke()
	return nil
}

// gotLateBounce ends a message that was sent back too late to be taken in.
func (l *link) gotLateBounce(f *frame, cost int64) error {
	rt := l.route(f.head[fRoute])
	if rt == nil {
		return fmt.Errorf("%w: bounce of route %d, which is not there", errMalformed, f.head[fRoute])
	}
	if err := l.owes(rt, uint64(cost), 1); err != nil {
		return err
	}
	o := outgoing{header: f.header, cost: cost}
	o.head[fKind] = f.head[fKind]
	if f.head[fKind] == kindRequest {
		o.call = l.pend.take(f.head[fID])
	}
	if f.head[fKind] == kindSend || o.call != nil {
		l.core.dead(rt.ring.address, &o, fmt.Errorf("%w: it was sent back too late: %w", ErrNoConsumer, context.DeadlineExceeded))
	}
	return l.bounced(rt, cost)
}

// gotCancel ends the context of a request's handler, or its turn in the mailbox
// (rule 5).
func (l *link) gotCancel(f *frame) {
	if f.head[fRoute] == 0 {
		l.questionOver(f.head[fID], stateCanceled)
		return
	}
	l.mu.Lock()
	in := l.inLocked(uint32(min(f.head[fRoute], maxRoutes)))
	l.mu.Unlock()
	if in == nil {
		return // handled, or sent back
	}
	c := in.consumer
	c.mu.Lock()
	m := c.box.find(in, f.head[fID])
	c.mu.Unlock()
	if m != nil {
		m.end(stateCanceled)
		c.gaveUp()
	}
}

func zigzag(n int) uint64   { return uint64(int64(n)<<1) ^ uint64(int64(n)>>63) }
func unzigzag(v uint64) int { return int(int64(v>>1) ^ -int64(v&1)) }
