package bus

import (
	"context"
	"fmt"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// gotReply answers a request (rule 5); owned says that the body is not in the read
// buffer.
func (r *receiver) gotReply(f *frame.Frame, owned bool) {
	c := r.pend.take(f.ID())
	ask := f.Ask()
	if c == nil { // the request has ended
		r.stats.add(countLateReplies, 1)
		r.replies.notAnswered(ask, errGone)
		return
	}
	re := reply{
		failed: f.Failed(), code: f.Code(), header: f.Header,
		body: f.Body, codec: r.codecs.number(f), details: f.Details, shared: !owned,
	}
	a := answerOf(&r.replies.origin, &re)
	switch {
	case re.codec == codecUnknown && !re.failed:
		codec := describeCodec(f.Codec(), f.CodecName)
		a = answer{err: fmt.Errorf("bus: the reply from %s is encoded by %s, which this node does not have (WithCodec)", r.peer.Name, codec), in: &r.replies.origin}
		r.replies.notAnswered(ask, r.noCodec("the question", codec))
	case ask != 0 && a.err == nil:
		r.questions.add(a.m, ask, r.times.deadline(f, r.clock.now()))
	}
	if !c.answer(a) && a.m != nil {
		a.m.fail(errGone) // nothing, unless it asks
		r.soon()
	}
	r.leave.recheck()
}

// gotLateReply ends a request whose reply was too late to be taken in.
func (r *receiver) gotLateReply(f *frame.Frame) {
	r.stats.add(countLateReplies, 1)
	r.replies.notAnswered(f.Ask(), errGone)
	if c := r.pend.take(f.ID()); c != nil {
		c.answer(answer{err: &unanswered{atSent, context.DeadlineExceeded}, in: &r.replies.origin})
	}
	r.leave.recheck()
}

// gotCancel ends the context of a request's handler, or its turn in the mailbox
// (rule 5).
func (r *receiver) gotCancel(f *frame.Frame) {
	if f.Route() == 0 {
		r.questions.end(f.ID(), stateCanceled)
		return
	}
	r.mu.Lock()
	in := r.inbounds.atLocked(uint32(min(f.Route(), maxRoutes)))
	r.mu.Unlock()
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
