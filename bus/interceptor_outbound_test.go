package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// A send or publish that an outbound interceptor does not pass on is dropped; a
// request or question of which neither reply nor error comes back is an error; a
// reply that is dropped is answered at once.
func TestOutboundInterceptorDrops(t *testing.T) {
	drop := func(verbs ...string) func(*testing.T) []bus.Option {
		return func(*testing.T) []bus.Option {
			return []bus.Option{outbound(func(context.Context, *bus.Call, bus.Caller) (*bus.Message, error) { return nil, nil }, verbs...)}
		}
	}
	t.Run("calls", func(t *testing.T) {
		bothWith(t, drop(bus.VerbSend, bus.VerbPublish, bus.VerbRequest), nil, func(t *testing.T, p pair) {
			consume(t, p.to, "a", func(context.Context, *bus.Message) error { t.Error("handled"); return nil })
			for verb, call := range calls(t, p, nil) {
				if err := call(); (err != nil) != (verb == "request") || err != nil && !strings.Contains(err.Error(), "neither reply nor error") {
					t.Errorf("%s: %v", verb, err)
				}
			}
			synctest.Wait()
		})
	})
	t.Run("reply", func(t *testing.T) {
		bothWith(t, nil, drop(bus.VerbReply), func(t *testing.T, p pair) {
			for address, h := range map[string]bus.Handler{
				"reply":   bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, "x") }),
				"respond": bus.Respond(func(context.Context, any) (string, error) { return "x", nil }),
			} {
				consume(t, p.to, address, h.Handle)
				begin := time.Now()
				m, err := p.from.Request(t.Context(), address, nil)
				if !unanswered(err) || time.Since(begin) > 0 {
					t.Errorf("%s: after %v: %v, %v", address, time.Since(begin), m, err)
				}
			}
		})
	})
	t.Run("question", func(t *testing.T) {
		bothWith(t, nil, drop(bus.VerbAsk), func(t *testing.T, p pair) {
			consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
				_, err := m.Request(ctx, "which?")
				if err == nil || !m.WantsReply() {
					t.Errorf("the asker got %v", err)
				}
				return m.Reply(ctx, "otherwise")
			})
			if s, err := bus.Request[string](t.Context(), p.from, "a", nil); err != nil || s != "otherwise" {
				t.Errorf("%q, %v", s, err)
			}
		})
	})
}

// An outbound interceptor's error is the call's, as it is; of a reply the handler's,
// who answers with it.
func TestOutboundInterceptorFails(t *testing.T) {
	no := &bus.ReplyError{Code: 7, Message: "not you"}
	fails := func(verbs ...string) func(*testing.T) []bus.Option {
		return func(*testing.T) []bus.Option {
			return []bus.Option{outbound(func(context.Context, *bus.Call, bus.Caller) (*bus.Message, error) { return nil, no }, verbs...)}
		}
	}
	t.Run("calls", func(t *testing.T) {
		bothWith(t, fails(bus.VerbSend, bus.VerbPublish, bus.VerbRequest), nil, func(t *testing.T, p pair) {
			consume(t, p.to, "a", func(context.Context, *bus.Message) error { t.Error("handled"); return nil })
			for verb, call := range calls(t, p, nil) {
				if err := call(); err != error(no) {
					t.Errorf("%s: %v", verb, err)
				}
			}
			synctest.Wait()
		})
	})
	t.Run("reply", func(t *testing.T) {
		bothWith(t, nil, fails(bus.VerbReply), func(t *testing.T, p pair) {
			consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
				err := m.Reply(ctx, "x")
				if err != error(no) || !m.WantsReply() {
					t.Errorf("the handler got %v", err)
				}
				return err
			})
			_, err := p.from.Request(t.Context(), "a", nil)
			var got *bus.ReplyError
			if !errors.As(err, &got) || got.Code != no.Code || got.Message != no.Message {
				t.Errorf("the requester got %v", err)
			}
		})
	})
}

// An outbound interceptor's panic is its caller's, and a handler's where that
// replies; what comes after it is as before.
func TestOutboundInterceptorPanics(t *testing.T) {
	panics := func(verbs ...string) func(*testing.T) []bus.Option {
		return func(*testing.T) []bus.Option {
			return []bus.Option{outbound(func(ctx context.Context, call *bus.Call, next bus.Caller) (*bus.Message, error) {
				if call.Body == nil {
					panic("no body")
				}
				return next(ctx, call)
			}, verbs...)}
		}
	}
	t.Run("calls", func(t *testing.T) {
		bothWith(t, panics(bus.VerbSend, bus.VerbPublish, bus.VerbRequest), nil, func(t *testing.T, p pair) {
			consume(t, p.to, "a", nothing)
			for verb, call := range calls(t, p, nil) {
				func() {
					defer func() {
						if recover() == nil {
							t.Errorf("%s has not panicked", verb)
						}
					}()
					_ = call()
				}()
				if err := calls(t, p, "x")[verb](); err != nil {
					t.Errorf("%s afterwards: %v", verb, err)
				}
			}
		})
	})
	t.Run("reply", func(t *testing.T) {
		bothWith(t, nil, panics(bus.VerbReply), func(t *testing.T, p pair) {
			consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
				if len(m.Body) == 0 {
					return m.Reply(ctx, nil)
				}
				return m.Reply(ctx, "x")
			})
			_, err := p.from.Request(t.Context(), "a", nil)
			var no *bus.ReplyError
			if !errors.As(err, &no) || no.Code != bus.CodePanic {
				t.Errorf("the requester got %v", err)
			}
			if s, err := bus.Request[string](t.Context(), p.from, "a", "x"); err != nil || s != "x" {
				t.Errorf("afterwards: %q, %v", s, err)
			}
		})
	})
}

// An interceptor may answer in place of the consumer, ask twice, and shorten the
// time.
func TestOutboundInterceptorAroundARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept *bus.Message
		eb := bus.New(quiet, outbound(func(ctx context.Context, call *bus.Call, next bus.Caller) (m *bus.Message, err error) {
			switch call.Address {
			case "cached":
				if kept == nil {
					kept, err = next(ctx, call)
				}
				return kept, err
			case "flaky":
				if m, err = next(ctx, call); err != nil {
					return next(ctx, call)
				}
				return m, err
			}
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return next(ctx, call)
		}, bus.VerbRequest))
		defer eb.Close()
		n := 0
		consume(t, eb, "cached", bus.Respond(func(context.Context, any) (int, error) { n++; return n, nil }).Handle)
		for range 3 {
			if v, err := bus.Request[int](t.Context(), eb, "cached", nil); v != 1 || err != nil {
				t.Errorf("cached: %d, %v", v, err)
			}
		}
		consume(t, eb, "flaky", bus.Respond(func(context.Context, any) (int, error) {
			if n++; n%2 == 0 {
				return 0, errors.New("not now")
			}
			return 0, nil
		}).Handle)
		if _, err := eb.Request(t.Context(), "flaky", nil, bus.WithHeader("k", "v")); err != nil {
			t.Errorf("flaky: %v", err)
		}
		consume(t, eb, "slow", func(ctx context.Context, _ *bus.Message) error { <-ctx.Done(); return ctx.Err() })
		begin := time.Now()
		if _, err := eb.Request(t.Context(), "slow", nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 2*time.Second {
			t.Errorf("slow: after %v: %v", time.Since(begin), err)
		}
	})
}
