package bus_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// What an inbound interceptor does is what the handler does: dropping, failing,
// panicking, for sends, publishes and requests; neither later ones nor the handler
// see the message, and others come through.
func TestInboundInterceptorInPlaceOfTheHandler(t *testing.T) {
	no := &bus.ReplyError{Code: 7, Message: "not you"}
	for name, c := range map[string]struct {
		instead func() error
		check   func(err error) bool // of a request
		counted func(s bus.Stats) uint64
	}{
		"drop": {func() error { return nil }, func(err error) bool { return err == nil }, func(s bus.Stats) uint64 { return s.Handled }},
		"fail": {func() error { return no }, func(err error) bool {
			var got *bus.ReplyError
			return errors.As(err, &got) && got.Code == no.Code && got.Message == no.Message
		}, func(s bus.Stats) uint64 { return s.Failed }},
		"panic": {func() error { panic("no") }, func(err error) bool {
			var got *bus.ReplyError
			return errors.As(err, &got) && got.Code == bus.CodePanic
		}, func(s bus.Stats) uint64 { return s.Panics }},
	} {
		t.Run(name, func(t *testing.T) {
			bothWith(t, nil, func(t *testing.T) []bus.Option {
				return []bus.Option{inbound(func(ctx context.Context, m *bus.Message, next bus.Handler) error {
					if len(m.Body) == 0 {
						return c.instead()
					}
					return next.Handle(ctx, m)
				}), inbound(func(ctx context.Context, m *bus.Message, next bus.Handler) error {
					if len(m.Body) == 0 {
						t.Error("a later interceptor saw it")
					}
					return next.Handle(ctx, m)
				})}
			}, func(t *testing.T, p pair) {
				handled := make(chan string, 10)
				consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error { handled <- string(m.Body); return nil })
				for verb, call := range calls(t, p, nil) {
					err := call()
					if verb == "request" && !c.check(err) || verb != "request" && err != nil {
						t.Errorf("%s: %v", verb, err)
					}
				}
				for verb, call := range calls(t, p, []byte("x")) {
					if err := call(); err != nil || receive(t, handled) != "x" {
						t.Errorf("%s of another: %v", verb, err)
					}
				}
				synctest.Wait()
				if n := c.counted(p.to.Stats()); n < 2 || len(handled) > 0 {
					t.Errorf("%d counted, %d handled more: %+v", n, len(handled), p.to.Stats())
				}
			})
		})
	}
}

// An inbound interceptor runs in the handler's turn, and with its context: in a
// scope one at a time, and a request of it to the own scope is a deadlock.
func TestInboundInterceptorRunsInTheHandlersTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0 // no lock: the scope's turn guards it
		var scope *bus.EventBus
		eb := bus.New(quiet, inbound(func(ctx context.Context, m *bus.Message, next bus.Handler) error {
			if n++; n != 1 {
				t.Errorf("%d at once", n)
			}
			if _, err := scope.Request(ctx, "a", nil); !errors.Is(err, bus.ErrDeadlock) {
				t.Errorf("request to the own scope: %v", err)
			}
			time.Sleep(time.Millisecond)
			err := next.Handle(ctx, m)
			n--
			return err
		}))
		defer eb.Close()
		scope = eb.Scope()
		for range 2 {
			if _, err := scope.Consume("a", bus.HandlerFunc(nothing)); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := eb.Request(t.Context(), "a", nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

// An inbound interceptor is made once for each consumer.
func TestInboundInterceptorIsMadeOncePerConsumer(t *testing.T) {
	t.Parallel()
	made := 0
	eb := bus.New(quiet, bus.WithInbound(func(next bus.Handler) bus.Handler { made++; return next }))
	defer eb.Close()
	for range 3 {
		consume(t, eb, "a", nothing)
	}
	for range 10 {
		if _, err := eb.Request(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
	}
	if made != 3 {
		t.Errorf("made %d times", made)
	}
}
