package bus

import (
	"context"
	"fmt"
	"slices"
)

// A conversation (rule 16) is a request whose reply asks back: the reply is a request too,
// to the one who waits for it, and its answer may ask again. A question is such a
// reply. It goes on the link of the request, needs no credit, and counts there
// among the requests of the node that asks.

// The answers to a question that nobody will answer.
var (
	errGone         = &ReplyError{Code: CodeUnanswered, Message: "the requester has given up"}
	errCannotAnswer = &ReplyError{Code: CodeUnanswered, Message: "the requester takes a reply, not a question"}
)

// Request answers a request with a question, and waits for its answer: until
// ctx ends, or for 30 s. The requester's [EventBus.Request], or
// Message.Request, returns the question as its reply, whose
// [Message.WantsReply] is true: its Reply answers it, and its Request asks
// back. A conversation may be of any length; each question has a deadline of
// its own. The body is encoded as for [EventBus.Send].
//
// It is an error if the message is no request or has been answered. When the
// requester has given up, or used the generic [Request], the error is a
// *[ReplyError] with [CodeUnanswered], at once. When the link to its node ends,
// it is [ErrLinkLost]. Where the request could not be answered for want of room
// ([ErrBusy], [ErrTooLarge]) it still can. A question needs no room at a
// consumer, and no turn. The only option is [WithHeader].
func (m *Message) Request(ctx context.Context, body any, opts ...CallOption) (*Message, error) {
	if m.in == nil {
		return nil, m.notRequest()
	}
	if m.in.back.intercepts() {
		return m.in.back.intercept(ctx, m, VerbAsk, body, slices.Clone(opts))
	}
	return m.ask(ctx, body, opts)
}

func (m *Message) ask(ctx context.Context, body any, opts []CallOption) (*Message, error) {
	var r reply
	if err := m.encodeReply(&r, VerbAsk, body, opts); err != nil {
		return nil, err
	}
	if err := r.check(m); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("bus: question to %s: %w", m.From(), err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}
	call := m.in.calls.get(deadlineOf(ctx, &m.in.clock))
	r.call, r.deadline = call, call.deadline
	if err := m.give(ctx, &r); err != nil {
		if call.ended.CompareAndSwap(false, true) {
			call.withdraw(context.Canceled) // it may have been pending
		}
		return nil, err
	}
	m.in.back.flush()
	a := m.in.calls.await(ctx, call) // ctx may be that of m's handler, which ends as m is released
	m.settle()
	if a.err != nil {
		return nil, a.named("question to " + m.From())
	}
	return a.m, nil
}

// deadlineOf returns the deadline, by the bus's clock, of a context that has one.
func deadlineOf(ctx context.Context, c *clock) int64 {
	d, _ := ctx.Deadline()
	return c.at(d)
}

// isQuestion reports whether m is a reply that asks.
func (m *Message) isQuestion() bool { return m.kind() == kindRequest && m.Address() == "" }

// questionEnded says why a question can no longer be answered.
func (m *Message) questionEnded() error {
	if !m.isQuestion() {
		return nil
	}
	s := m.state()
	switch {
	case s&(stateExpired|stateCanceled) == 0:
		return nil
	case s&stateExpired != 0 || m.in.clock.now() >= m.deadline:
		return fmt.Errorf("bus: the question of %s is over: %w", m.From(), context.DeadlineExceeded)
	}
	return fmt.Errorf("bus: %s has given up its question: %w", m.From(), context.Canceled)
}
