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
func outbound(f func(ctx context.Context, call *bus.Call, next bus.Caller) (*bus.Message, error), verbs ...string) bus.Option {
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

// senderFirst puts what the handler's side noted behind what the sender's did, as a
// handler may run before its sender's interceptors have returned.
func senderFirst(s string) string {
	var sender, handler []string
	for _, note := range strings.Fields(s) {
		if note == "handler" || strings.HasPrefix(note, "in") {
			handler = append(handler, note)
		} else {
			sender = append(sender, note)
		}
	}
	return strings.Join(append(sender, handler...), " ")
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
			got := n.take()
			if verb != "request" {
				got = senderFirst(got)
			}
			if got != want {
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
