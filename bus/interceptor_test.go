package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// bothWith is both with options of the bus that sends and of the one that consumes.
func bothWith(t *testing.T, from, to func(t *testing.T) []bus.Option, test func(t *testing.T, p pair)) {
	options := func(t *testing.T, f func(t *testing.T) []bus.Option) []bus.Option {
		if f == nil {
			return nil
		}
		return f(t)
	}
	t.Run("alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			eb := bus.New(slices.Concat([]bus.Option{quiet}, options(t, from), options(t, to))...)
			t.Cleanup(func() { eb.Close() })
			test(t, pair{eb, eb, false})
		})
	})
	t.Run("clustered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := bus.New(append(options(t, from), quiet)...)
			b := bus.New(append(options(t, to), quiet)...)
			narrow(t, 256<<10, a, b)
			test(t, pair{a, b, true})
		})
	})
}

// notes is what interceptors and handlers write down.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, fmt.Sprintf(format, args...))
}

func (n *notes) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := strings.Join(n.list, " ")
	n.list = nil
	return s
}

// outbound is an option with one interceptor of calls of those verbs.
func outbound(f func(ctx context.Context, call *bus.Call, next bus.Caller) (*bus.Message, error), verbs ...bus.Verb) bus.Option {
	return bus.WithOutbound(func(next bus.Caller) bus.Caller {
		return func(ctx context.Context, call *bus.Call) (*bus.Message, error) {
			if len(verbs) > 0 && !slices.Contains(verbs, call.Verb) {
				return next(ctx, call)
			}
			return f(ctx, call, next)
		}
	})
}

func inbound(f func(ctx context.Context, m *bus.Message, next bus.Handler) error) bus.Option {
	return bus.WithInbound(func(next bus.Handler) bus.Handler {
		return bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error { return f(ctx, m, next) })
	})
}

// calls are the verbs by name, as p's sender calls them at "a".
func calls(t *testing.T, p pair, body any) map[string]func() error {
	return map[string]func() error{
		"send":    func() error { return p.from.Send(t.Context(), "a", body) },
		"publish": func() error { return p.from.Publish(t.Context(), "a", body) },
		"request": func() error { _, err := p.from.Request(t.Context(), "a", body); return err },
	}
}

// Ten interceptors each way run in order, outermost first, for sends, publishes,
// requests, replies and questions; the way back is the other way round.
func TestInterceptorsRunInOrder(t *testing.T) {
	var n notes
	ten := func(*testing.T) (opts []bus.Option) {
		for i := range 10 {
			opts = append(opts, outbound(func(ctx context.Context, call *bus.Call, next bus.Caller) (*bus.Message, error) {
				n.add("%s%d", call.Verb[:1], i)
				defer n.add("/%d", i)
				return next(ctx, call)
			}), inbound(func(ctx context.Context, m *bus.Message, next bus.Handler) error {
				n.add("in%d", i)
				return next.Handle(ctx, m)
			}))
		}
		return opts
	}
	out := func(verb, within string) string {
		var s, back []string
		for i := range 10 {
			s, back = append(s, verb+fmt.Sprint(i)), append(back, "/"+fmt.Sprint(9-i))
		}
		if within != "" {
			s = append(s, within)
		}
		return strings.Join(append(s, back...), " ")
	}
	in := "in0 in1 in2 in3 in4 in5 in6 in7 in8 in9 handler"
	synctest.Test(t, func(t *testing.T) {
		a, b := bus.New(append(ten(t), quiet)...), bus.New(append(ten(t), quiet)...)
		narrow(t, 256<<10, a, b)
		consume(t, b, "a", func(ctx context.Context, m *bus.Message) error {
			n.add("handler")
			if string(m.Body) == "ask" {
				a, err := m.Request(ctx, nil)
				if err != nil {
					return err
				}
				return a.Reply(ctx, nil)
			}
			if m.WantsReply() {
				return m.Reply(ctx, nil)
			}
			return nil
		})
		p := pair{from: a, to: b}
		for verb, want := range map[string]string{ // verbs by their first letter
			"send":    out("S", "") + " " + in,
			"publish": out("P", "") + " " + in,
			"request": out("R", in+" "+out("R", "")),
		} {
			if err := calls(t, p, nil)[verb](); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := n.take(); got != want {
				t.Errorf("%s:\n%s\nnot\n%s", verb, got, want)
			}
		}
		q, err := a.Request(t.Context(), "a", []byte("ask"))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, want := n.take(), out("R", in+" "+strings.TrimSuffix(out("M", ""), " /9 /8 /7 /6 /5 /4 /3 /2 /1 /0")); got != want {
			t.Errorf("question:\n%s\nnot\n%s", got, want)
		}
		if err := q.Reply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := n.take(); !strings.HasPrefix(got, out("R", "")) { // in which the handler goes on
			t.Errorf("answer to the question:\n%s", got)
		}
	})
}

// An outbound interceptor sees the body before it is encoded, and headers; an
// inbound one what was received. What the outbound one changes is what is sent:
// body, headers and, but for replies, address.
func TestInterceptorsSeeAndChangeMessages(t *testing.T) {
	type order struct{ What string }
	var n notes
	from := func(t *testing.T) []bus.Option {
		return []bus.Option{outbound(func(ctx context.Context, call *bus.Call, next bus.Caller) (*bus.Message, error) {
			n.add("out:%s:%s:%v:%s", call.Verb, call.Address, call.Body, call.Header.Get("k"))
			call.Address = strings.Replace(call.Address, "alias", "a", 1)
			call.Header.Set("K", "changed")
			call.Header["Upper"] = []string{"case"}
			call.Body = order{call.Body.(order).What + "!"}
			m, err := next(ctx, call)
			call.Header.Set("k", "too late")
			call.Header["upper"] = nil
			if m != nil {
				n.add("back:%s", m.Body)
			}
			return m, err
		}, bus.VerbSend, bus.VerbPublish, bus.VerbRequest)}
	}
	to := func(t *testing.T) []bus.Option {
		return []bus.Option{inbound(func(ctx context.Context, m *bus.Message, next bus.Handler) error {
			n.add("in:%s:%s:%s", m.Body, m.Header().Get("k"), m.Header().Get("upper"))
			return next.Handle(ctx, m)
		}), outbound(func(ctx context.Context, call *bus.Call, next bus.Caller) (*bus.Message, error) {
			n.add("out:%s:%s:%v", call.Verb, call.Address, call.Body)
			call.Address, call.Body = "nowhere", "changed"
			return next(ctx, call)
		}, bus.VerbReply)}
	}
	bothWith(t, from, to, func(t *testing.T, p pair) {
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			if m.WantsReply() {
				return m.Reply(ctx, 42)
			}
			return nil
		})
		o, with := order{"x"}, bus.WithHeader("k", "v")
		for verb, call := range map[string]func() error{
			"Send":    func() error { return p.from.Send(t.Context(), "alias", o, with) },
			"Publish": func() error { return p.from.Publish(t.Context(), "alias", o, with) },
			"Request": func() error { _, err := p.from.Request(t.Context(), "alias", o, with); return err },
		} {
			if err := call(); err != nil {
				t.Errorf("%s: %v", verb, err)
			}
			synctest.Wait()
			want := "out:" + verb + `:alias:{x}:v in:{"What":"x!"}:changed:case`
			if verb == "Request" {
				want += ` out:Reply:a:42 back:"changed"`
			}
			if got := n.take(); got != want {
				t.Errorf("%s: %s, not %s", verb, got, want)
			}
		}
	})
}

// A send or publish that an outbound interceptor does not pass on is dropped; a
// request or question of which neither reply nor error comes back is an error; a
// reply that is dropped is answered at once.
func TestOutboundInterceptorDrops(t *testing.T) {
	drop := func(verbs ...bus.Verb) func(*testing.T) []bus.Option {
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
	fails := func(verbs ...bus.Verb) func(*testing.T) []bus.Option {
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
			if !errors.As(err, &got) || *got != *no {
				t.Errorf("the requester got %v", err)
			}
		})
	})
}

// An outbound interceptor's panic is its caller's, and a handler's where that
// replies; what comes after it is as before.
func TestOutboundInterceptorPanics(t *testing.T) {
	panics := func(verbs ...bus.Verb) func(*testing.T) []bus.Option {
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
			return errors.As(err, &got) && *got == *no
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

// Options are those of the call, whatever interceptors there are: one that does not
// fit is an error that they do not see.
func TestOptionsBehindInterceptors(t *testing.T) {
	bothWith(t, func(t *testing.T) []bus.Option {
		return []bus.Option{outbound(func(ctx context.Context, call *bus.Call, next bus.Caller) (*bus.Message, error) {
			if call.Header == nil || call.Header.Get("bad") != "" {
				t.Errorf("header %v", call.Header)
			}
			call.Verb = "something else" // which does nothing
			return next(ctx, call)
		})}
	}, nil, func(t *testing.T, p pair) {
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, m.Header().Values("k")) })
		vs, err := bus.Request[[]string](t.Context(), p.from, "a", nil, bus.WithHeader("k", "1"), bus.WithHeader("k", "2"), bus.Idempotent())
		if err != nil || !slices.Equal(vs, []string{"1", "2"}) {
			t.Errorf("%q, %v", vs, err)
		}
		if err := p.from.Send(t.Context(), "a", nil, bus.LocalOnly()); p.linked != errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("LocalOnly: %v", err)
		}
		if err := p.from.Send(t.Context(), "a", nil, bus.Idempotent(), bus.WithHeader("bad", "x")); err == nil || !strings.Contains(err.Error(), "Idempotent") {
			t.Errorf("Idempotent of a send: %v", err)
		}
	})
}

// What cannot be an interceptor is refused where it is set, or where it shows.
func TestInterceptorsThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(){
		"nil outbound":    func() { bus.WithOutbound(nil) },
		"nil inbound":     func() { bus.WithInbound(nil) },
		"returns nothing": func() { bus.New(bus.WithOutbound(func(bus.Caller) bus.Caller { return nil })) },
	} {
		func() {
			defer func() {
				if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "bound: ") {
					t.Errorf("%s: it panicked with %v", name, p)
				}
			}()
			f()
		}()
	}
	for _, none := range []bus.Handler{nil, bus.HandlerFunc(nil)} {
		eb := bus.New(quiet, bus.WithInbound(func(bus.Handler) bus.Handler { return none }, func(next bus.Handler) bus.Handler { return next }))
		if _, err := eb.Consume("a", bus.HandlerFunc(nothing)); err == nil || !strings.Contains(err.Error(), "WithInbound") {
			t.Errorf("Consume: %v", err)
		}
		eb.Close()
	}
	eb := bus.New(quiet, outbound(func(ctx context.Context, call *bus.Call, next bus.Caller) (*bus.Message, error) {
		return next(ctx, &bus.Call{Verb: call.Verb, Address: call.Address})
	}))
	defer eb.Close()
	consume(t, eb, "a", func(context.Context, *bus.Message) error { t.Error("handled"); return nil })
	for verb, call := range calls(t, pair{from: eb}, nil) {
		if err := call(); err == nil || !strings.Contains(err.Error(), "was not given") {
			t.Errorf("%s of another Call: %v", verb, err)
		}
	}
}
