package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/runrig-go/runrig/bus"
)

// span is a piece of work, in this process, within another in perhaps another one.
type span struct {
	trace, id, within string
	what              string
	err               error
	ended             bool
}

// tracer keeps the spans of a process. A tracing library has its own.
type tracer struct {
	mu    sync.Mutex
	spans []*span
}

type spanKey struct{}

// begin begins a span within that of ctx. What it returns ends it.
func (t *tracer) begin(ctx context.Context, what string) (context.Context, func(err error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &span{id: fmt.Sprint("s", len(t.spans)+1), what: what} // ids at random, in life
	if parent, ok := ctx.Value(spanKey{}).(*span); ok {
		s.trace, s.within = parent.trace, parent.id
	} else {
		s.trace = fmt.Sprint("t", len(t.spans)+1)
	}
	t.spans = append(t.spans, s)
	return context.WithValue(ctx, spanKey{}, s), func(err error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		s.err, s.ended = err, true
	}
}

// out is the client's side: a span around each call, whose ids go with the message.
// That of a request ends with its reply.
func (t *tracer) out(next bus.Caller) bus.Caller {
	return func(ctx context.Context, call *bus.Call) (*bus.Message, error) {
		if call.Verb == bus.VerbReply {
			return next(ctx, call)
		}
		ctx, end := t.begin(ctx, fmt.Sprintf("%s to %q", call.Verb, call.Address))
		s := ctx.Value(spanKey{}).(*span)
		call.Header.Set("trace", s.trace)
		call.Header.Set("span", s.id)
		m, err := next(ctx, call)
		end(err)
		return m, err
	}
}

// in is the server's side: a span around each handler, within the client's.
func (t *tracer) in(next bus.Handler) bus.Handler {
	return bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		if h := m.Header(); h.Get("trace") != "" {
			ctx = context.WithValue(ctx, spanKey{}, &span{trace: h.Get("trace"), id: h.Get("span")})
		}
		ctx, end := t.begin(ctx, fmt.Sprintf("handler of %q", m.Address()))
		err := next.Handle(ctx, m)
		end(err)
		return err
	})
}

// Interceptors carry a trace through messages: a handler that passes its context on
// has what it calls in the same trace, on whatever node.
func Example_tracing() {
	var t tracer
	eb := bus.New(bus.WithOutbound(t.out), bus.WithInbound(t.in))
	eb.Consume("stock", bus.Respond(func(ctx context.Context, what string) (int, error) {
		return 0, errors.New("no " + what)
	}))
	eb.Consume("order", bus.Respond(func(ctx context.Context, what string) (string, error) {
		if _, err := bus.Request[int](ctx, eb, "stock", what); err != nil {
			return "later", nil
		}
		return "done", nil
	}))
	fmt.Println(bus.Request[string](context.Background(), eb, "order", "pizza"))
	eb.Close() // when the handlers have returned
	for _, s := range t.spans {
		fmt.Printf("%s %s within %q: %s, ended %v, failed %v\n", s.trace, s.id, s.within, s.what, s.ended, s.err != nil)
	}
	// Output:
	// later <nil>
	// t1 s1 within "": Request to "order", ended true, failed false
	// t1 s2 within "s1": handler of "order", ended true, failed false
	// t1 s3 within "s2": Request to "stock", ended true, failed true
	// t1 s4 within "s3": handler of "stock", ended true, failed true
}
