package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/runrig-go/runrig/bus/internal/guard"
)

// The verbs of a [Call].
const (
	VerbSend       = "Send"
	VerbPublish    = "Publish"
	VerbRequest    = "Request"
	VerbRequestAll = "RequestAll"
	VerbReply      = "Reply"
	VerbAsk        = "Message.Request"
)

// Call is a call on its way through the outbound interceptors, which may change
// it and pass it on.
type Call struct {
	// Verb says which call it is. Changing it does nothing.
	Verb string

	// Address is where the message goes. Of VerbReply and VerbAsk it is that of
	// the request which is answered, "" within a conversation, and changing it
	// does nothing.
	Address string

	// Header is what the options of the call say, and not nil. It is the call's
	// own, and copied behind the last interceptor.
	Header Header

	// Body is the body before it is encoded.
	Body any

	by      *outbound
	verb    string // as it was called
	set     *callOptions
	answers *Message   // of VerbReply and VerbAsk
	replies []*Message // to VerbRequestAll
}

// Caller performs a call, or hands it to the next interceptor. The Message is nil
// but for VerbRequest and VerbAsk.
type Caller func(ctx context.Context, call *Call) (*Message, error)

// WithOutbound puts interceptors around Send, Publish, Request, RequestAll,
// [Message.Reply] and [Message.Request] of the bus, the first one outermost: each
// gets the next [Caller] and returns its own, which may change the Call, look at
// what comes back, or return without passing it on. They run in the goroutine of
// the call, several at once, and must not pass a Call on after they have returned.
// An error is the call's; so is a panic, which goes on to the caller, and in a
// handler no further.
//
// A Send or Publish that is not passed on is dropped, and a RequestAll has no
// replies. A Request of which neither reply nor error comes back is an error; a
// reply that is dropped is answered with [CodeUnanswered]. What the bus answers by
// itself, errors of handlers and empty replies, does not pass the interceptors. A
// nil interceptor panics. The option adds to those before it; what is set cannot be
// taken away later.
//
// The bus writes no spans: the example Tracing shows how two interceptors carry a
// trace through messages, for whatever tracing library.
func WithOutbound(interceptors ...func(next Caller) Caller) Option {
	for _, f := range interceptors {
		if f == nil {
			panic("bus: WithOutbound: nil interceptor")
		}
	}
	return optionFunc(func(c *config) { c.outbound = append(c.outbound, interceptors...) })
}

// WithInbound puts interceptors around the handler of every consumer of the
// bus, the first one outermost: each gets the next [Handler] and returns its
// own. It is made once for each consumer, and runs in the handler's place: in
// its turn, with its context, and what it returns, or that it panics, is the
// handler's. One that returns nil without the next has handled the message: a
// send or publish is dropped, a request is answered with an empty body. Replies
// come back through [WithOutbound]. A nil interceptor panics; Consume fails
// where one returns nil. The option adds to those before it.
func WithInbound(interceptors ...func(next Handler) Handler) Option {
	for _, f := range interceptors {
		if f == nil {
			panic("bus: WithInbound: nil interceptor")
		}
	}
	return optionFunc(func(c *config) { c.inbound = append(c.inbound, interceptors...) })
}

// wrap puts the inbound interceptors around a handler. It returns nil if one of them does.
func (c *core) wrap(h Handler) Handler {
	for i := len(c.inbound) - 1; i >= 0 && h != nil; i-- {
		if h = c.inbound[i](h); guard.IsNil(h) {
			return nil
		}
	}
	return h
}

// outbound is the way of calls through the outbound interceptors.
type outbound struct{ first Caller }

// newOutbound makes one of the interceptors, behind which perform does what a call says.
// It is nil if there are none.
func newOutbound(interceptors []func(Caller) Caller, perform Caller) *outbound {
	if len(interceptors) == 0 {
		return nil
	}
	next := perform
	for _, f := range slices.Backward(interceptors) {
		if next = f(next); next == nil {
			panic("bus: WithOutbound: an interceptor returned a nil Caller")
		}
	}
	return &outbound{next}
}

// call returns a call for the interceptors.
func (b *outbound) call(verb string, address string, body any, opts []CallOption) (*Call, error) {
	set, err := collect(verb, opts)
	if err != nil {
		return nil, err
	}
	call := &Call{Verb: verb, Address: address, Header: set.header, Body: body, by: b, verb: verb, set: set}
	if call.Header == nil {
		call.Header = Header{}
	}
	return call, nil
}

// interceptAll sends a RequestAll through the interceptors.
func (b *outbound) interceptAll(ctx context.Context, address string, body any, opts []CallOption) ([]*Message, error) {
	call, err := b.call(VerbRequestAll, address, body, opts)
	if err != nil {
		return nil, err
	}
	_, err = b.first(ctx, call)
	return call.replies, err
}

// intercept sends a call through the interceptors.
func (b *outbound) intercept(ctx context.Context, verb string, address string, body any, opts []CallOption, answers *Message) (*Message, error) {
	call, err := b.call(verb, address, body, opts)
	if err != nil {
		return nil, err
	}
	call.answers = answers
	m, err := b.first(ctx, call)
	switch {
	case err != nil:
		return nil, err
	case verb == VerbReply && answers.WantsReply(): // else its requester would get an empty one
		answers.fail(&ReplyError{Code: CodeUnanswered, Message: "the reply was dropped by an interceptor"})
	case m == nil && (verb == VerbRequest || verb == VerbAsk):
		return nil, fmt.Errorf("bus: the interceptors (WithOutbound) returned neither reply nor error for %s to %q", verb, address)
	}
	return m, nil
}

// interceptReply sends a reply to m, or a question, through the interceptors.
func (b *outbound) interceptReply(ctx context.Context, m *Message, verb string, body any, opts []CallOption) (*Message, error) {
	if m.kind() != kindRequest {
		return nil, m.notRequest()
	}
	return b.intercept(ctx, verb, m.Address(), body, opts, m)
}

var errForeignCall = errors.New("bus: an interceptor (WithOutbound) passed on a Call that it was not given")

// perform does what a call says, behind the last interceptor.
func (c *core) perform(ctx context.Context, call *Call) (m *Message, err error) {
	if call == nil || call.by != c.own.out {
		return nil, errForeignCall
	}
	set := *call.set
	set.header = call.Header.ownCopy()
	opts := []CallOption{callOption(func(o *callOptions) { *o = set })}
	switch call.verb {
	case VerbSend:
		return nil, c.sender.send(ctx, call.Address, call.Body, opts)
	case VerbPublish:
		return nil, c.sender.publish(ctx, call.Address, call.Body, opts)
	case VerbReply:
		var r reply
		if err := call.answers.encodeReply(&r, VerbReply, call.Body, opts); err != nil {
			return nil, err
		}
		if err := r.check(call.answers); err != nil {
			return nil, err
		}
		return nil, call.answers.give(ctx, &r)
	case VerbRequestAll:
		call.replies, err = c.sender.requestAll(ctx, call.Address, call.Body, opts)
		return nil, err
	case VerbAsk:
		return call.answers.ask(ctx, call.Body, opts)
	}
	return c.sender.request(ctx, call.Address, call.Body, opts)
}

// ownCopy returns a copy whose keys are in lower case, whoever wrote them; nil if
// there is none.
func (h Header) ownCopy() Header {
	if len(h) == 0 {
		return nil
	}
	c := make(Header, len(h))
	for k, vs := range h {
		if len(vs) > 0 {
			k = strings.ToLower(k)
			c[k] = append(c[k], vs...)
		}
	}
	return c
}
