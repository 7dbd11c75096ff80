package bus

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// A Handler handles the messages of a consumer: one at a time and in order,
// unless [WithConcurrency] says otherwise. It may block; what is sent to its
// consumer meanwhile waits, within the consumer's window, and so do the other
// consumers of its scope.
//
// The context ends when the requester gives up, at the message's deadline, or
// when the bus is closed and its drain time is over. For a request, the error
// that Handle returns is the answer: a *[ReplyError] goes as it is, another
// error's text with [CodeFailed]; nil without [Message.Reply] answers an empty
// body, unless [Message.Defer] leaves the answer to others. For other messages an error is logged. A panic is logged with its
// stack, and answered with [CodePanic].
type Handler interface {
	Handle(ctx context.Context, m *Message) error
}

// HandlerFunc is a function as a [Handler].
type HandlerFunc func(ctx context.Context, m *Message) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, m *Message) error { return f(ctx, m) }

// Respond makes a handler of a function that takes a decoded body and returns
// the body of the reply. A body that Req cannot take is answered with
// [CodeBody]. Messages that are no requests are handled too; their result is
// dropped.
func Respond[Req, Resp any](f func(ctx context.Context, req Req) (Resp, error)) Handler {
	if f == nil {
		return nil // which Consume refuses
	}
	return HandlerFunc(func(ctx context.Context, m *Message) error {
		req, err := decode[Req](m)
		if err != nil {
			return &ReplyError{Code: CodeBody, Message: err.Error()}
		}
		resp, err := f(ctx, req)
		if err != nil || !m.WantsReply() {
			return err
		}
		return m.reply(ctx, resp, nil)
	})
}

// Receive makes a handler of a function that takes a decoded body. A request
// is answered with an empty body, or with the error.
func Receive[T any](f func(ctx context.Context, body T) error) Handler {
	if f == nil {
		return nil // which Consume refuses
	}
	return HandlerFunc(func(ctx context.Context, m *Message) error {
		body, err := decode[T](m)
		if err != nil {
			return &ReplyError{Code: CodeBody, Message: err.Error()}
		}
		return f(ctx, body)
	})
}

// Request sends body to one consumer of the address and decodes its reply; see
// [EventBus.Request]. A consumer that asks back (see [Message.Request]) is told
// with [CodeUnanswered] that nobody answers, and Request returns an error.
func Request[Resp any](ctx context.Context, eb *EventBus, address string, body any, opts ...CallOption) (Resp, error) {
	m, err := eb.Request(ctx, address, body, opts...)
	if err == nil && m.WantsReply() {
		err = fmt.Errorf("bus: request to %q: the consumer asked back, which bus.Request cannot answer; use EventBus.Request", address)
		m.fail(errCannotAnswer)
		m.in.back.flush()
	}
	if err != nil {
		var none Resp
		return none, err
	}
	v, err := decode[Resp](m)
	if err != nil {
		err = fmt.Errorf("request to %q: %w", address, err)
	}
	return v, err
}

// decode decodes the body into a new T; where T points to a protobuf message,
// into a new one.
func decode[T any](m *Message) (T, error) {
	var v T
	if n := m.codec(); n >= codecOwn && m.in.codecs.types.at(n) == nil { // whose type may be that of a protobuf message
		return v, m.Decode(&v)
	}
	if msg, ok := any(v).(proto.Message); ok {
		msg = msg.ProtoReflect().New().Interface()
		return msg.(T), m.Decode(msg)
	}
	return v, m.Decode(&v)
}
