package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bridge"
	"github.com/runrig-go/runrig/bus/bustest"
)

// diary notes what hooks see.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(e *bridge.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	line := string(e.Kind)
	if e.Address != "" {
		line += " " + e.Address
	}
	if e.Body != nil {
		line += " " + string(e.Body)
	}
	if e.Reason != nil {
		line += " " + e.Reason.Error()
	}
	d.lines = append(d.lines, line)
}

func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// noting is a configuration whose hooks only note.
func (d *diary) noting() bridge.Config {
	return bridge.Config{
		Rules:     everything,
		Authorize: func(_ context.Context, _ *bridge.Client, e *bridge.Event) error { d.note(e); return nil },
		Notify:    func(_ *bridge.Client, e bridge.Event) { d.note(&e) },
	}
}

// The hooks see all that a client does, connect first and closed last, each once.
func TestHooksInOrder(t *testing.T) {
	t.Parallel()
	for _, tr := range transports {
		t.Run(tr, func(t *testing.T) {
			t.Parallel()
			var d diary
			s := newSetup(t, bustest.NewBus(t), d.noting())
			p := s.dial(tr)
			p.write(`{"type":"register","address":"x"}`)
			within(t, "registered", func() bool { return slices.Contains(d.all(), "registered x") })
			p.write(`{"type":"publish","address":"x","body":1}`)
			p.read()
			p.write(`{"type":"send","address":"x","replyAddress":"r","body":2}`)
			c := conversation{p: p}
			c.read()
			c.write(`{"type":"send","address":"$1","body":3}`) // no hook sees an answer, or the reply to a request
			c.read()
			p.write(`{"type":"ping"}`)
			p.close()
			within(t, "closed", func() bool { return strings.HasPrefix(last(d.all()), "closed") })
			want := []string{
				"connect", "register x", "registered x", "publish x 1", "receive x 1", "send x 2", "receive x 2", "unregistered x",
			}
			if got := d.all(); !slices.Equal(got[:len(got)-1], want) {
				t.Errorf("the hooks saw %q, want %q", got, want)
			}
		})
	}
}

func last(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// A client whose connection is refused is told why, and nothing else of it is seen.
func TestConnectRefused(t *testing.T) {
	t.Parallel()
	var d diary
	overAll(t, bridge.Config{
		Rules:     everything,
		Authorize: func(context.Context, *bridge.Client, *bridge.Event) error { return errors.New("not today") },
		Notify:    func(_ *bridge.Client, e bridge.Event) { d.note(&e) },
	}, func(t *testing.T, s *setup, tr string) {
		p := s.dial(tr)
		p.write(`{"type":"register","address":"x"}`)
		expect(t, p, flavour(tr, `{"type":"err","message":"`+map[bool]string{true: "blocked by bridgeEvent handler", false: "rejected"}[tr == "tcp"]+`","detail":"not today"}`))
		if got := p.read(); got != "" {
			t.Errorf("then %s", got)
		}
		if ws, ok := p.(*wsPeer); ok && !strings.Contains(fmt.Sprint(ws.end, ws.err), "not today") {
			t.Errorf("the connection ended with %q, %v", ws.end, ws.err)
		}
		within(t, "gone", func() bool { return s.bridge.Stats().Clients == 0 })
		if st := s.bridge.Stats(); st.Refused != 1 || len(d.all()) > 0 {
			t.Errorf("%+v, %q", st, d.all())
		}
	})
}

// Each kind can be refused, and the client reads the hook's words.
func TestHookRefuses(t *testing.T) {
	t.Parallel()
	refuse := func(_ context.Context, _ *bridge.Client, e *bridge.Event) error {
		if strings.HasSuffix(e.Address, "no") {
			return fmt.Errorf("no %s here", e.Kind)
		}
		return nil
	}
	overAll(t, bridge.Config{Rules: everything, Authorize: refuse}, func(t *testing.T, s *setup, tr string) {
		p := s.dial(tr)
		for _, kind := range []string{"send", "publish", "register"} {
			p.write(`{"type":"` + kind + `","address":"no","body":1}`)
			word := "rejected"
			if tr == "tcp" {
				word = "blocked by bridgeEvent handler"
			}
			expect(t, p, flavour(tr, `{"type":"err","message":"`+word+`","sourceAddress":"no","detail":"no `+kind+` here"}`))
		}
		if st := s.bridge.Stats(); st.Denied != 3 || st.Invalid != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// What Authorize keeps from a client does not come, a requester is told at once, and
// what it allows may have other headers and another body.
func TestHookOfReceiving(t *testing.T) {
	t.Parallel()
	hook := func(_ context.Context, _ *bridge.Client, e *bridge.Event) error {
		if e.Kind != bridge.Receive {
			return nil
		}
		if string(e.Body) == `"secret"` {
			return errors.New("it is a secret")
		}
		e.Header = bus.Header{"seen": {"yes"}}
		e.Body = json.RawMessage(`"changed"`)
		return nil
	}
	overAll(t, bridge.Config{Rules: everything, Authorize: hook}, func(t *testing.T, s *setup, tr string) {
		p := s.dial(tr)
		p.write(`{"type":"register","address":"x"}`)
		within(t, "registered", func() bool { return s.bridge.Stats().Consumers == 1 })
		var no *bus.ReplyError
		if _, err := s.eb.Request(t.Context(), "x", "secret"); !errors.As(err, &no) || no.Message != "it is a secret" {
			t.Error(err)
		}
		for _, body := range []string{"secret", "open"} {
			if err := s.eb.Publish(t.Context(), "x", body); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, p, flavour(tr, `{"type":"message","address":"x","headers":{"seen":"yes"},"body":"changed","send":false}`))
		if st := s.bridge.Stats(); st.Withheld != 2 {
			t.Errorf("%+v", st)
		}
	})
}

// What a client sends may be changed on its way, too.
func TestHookOfSending(t *testing.T) {
	t.Parallel()
	hook := func(_ context.Context, c *bridge.Client, e *bridge.Event) error {
		if e.Kind == bridge.Send {
			e.Header = bus.Header{"user": {"ada"}, "was": e.Header.Values("a")}
			e.Body = json.RawMessage(`{"n":2}`)
		}
		return nil
	}
	overAll(t, bridge.Config{Rules: everything, Authorize: hook}, func(t *testing.T, s *setup, tr string) {
		consume(t, s.eb, "echo", bus.HandlerFunc(echo))
		p := s.dial(tr)
		p.write(`{"type":"send","address":"echo","replyAddress":"r","headers":{"a":"b"},"body":1}`)
		expect(t, p, flavour(tr, `{"type":"message","address":"r","headers":{"user":"ada","was":"b"},"body":{"n":2},"send":true}`))
	})
}

type user struct{}

// A client that says who it is gets authorities, which its rules ask for, and keeps
// what the program knows of it.
func TestAuthority(t *testing.T) {
	t.Parallel()
	hook := func(_ context.Context, c *bridge.Client, e *bridge.Event) error {
		switch e.Address {
		case "login":
			if string(e.Body) != `"open sesame"` {
				return errors.New("wrong password")
			}
			c.Set(user{}, "ada")
			c.Grant("guest")
		case "promote":
			if c.Value(user{}) != "ada" {
				return fmt.Errorf("who is %v?", c.Value(user{}))
			}
			c.Grant("boss")
		case "demote":
			c.Revoke("boss")
			c.Set(user{}, nil)
		}
		return nil
	}
	rules := []bridge.Rule{
		{Direction: bridge.In, Address: "login"}, {Direction: bridge.In, Address: "promote"}, {Direction: bridge.In, Address: "demote"},
		{Direction: bridge.In | bridge.Out, Address: "guarded", Authority: "boss"},
		{Direction: bridge.In | bridge.Out, Prefix: "guar"}, // which does not decide
	}
	overAll(t, bridge.Config{Rules: rules, Authorize: hook}, func(t *testing.T, s *setup, tr string) {
		p := s.dial(tr)
		say := func(frame, want string) {
			t.Helper()
			p.write(frame)
			var m map[string]any
			_ = json.Unmarshal([]byte(p.read()), &m)
			if got := fmt.Sprint(m["body"], m["message"], m["failureType"]); !strings.Contains(got, want) {
				t.Errorf("%s: %v", frame, m)
			}
		}
		guarded := `{"type":"send","address":"guarded","replyAddress":"r","body":1}`
		say(guarded, "not_logged_in")
		say(`{"type":"register","address":"guarded"}`, "not_logged_in")
		say(`{"type":"send","address":"login","body":"guess"}`, map[string]string{"tcp": "blocked"}[tr])
		p.write(`{"type":"send","address":"login","body":"open sesame"}`)
		say(guarded, "access_denied")
		p.write(`{"type":"send","address":"promote"}`)
		say(guarded, "NO_HANDLERS")
		p.write(`{"type":"send","address":"demote"}`)
		say(guarded, "access_denied")
		say(`{"type":"send","address":"promote"}`, map[string]string{"tcp": "blocked"}[tr])
	})
}

// Whoever cuts a client off may say why.
func TestDisconnect(t *testing.T) {
	t.Parallel()
	for _, tr := range transports {
		t.Run(tr, func(t *testing.T) {
			t.Parallel()
			closed := make(chan error, 1)
			s := newSetup(t, bustest.NewBus(t), bridge.Config{
				Rules: everything,
				Authorize: func(_ context.Context, c *bridge.Client, e *bridge.Event) error {
					if e.Address == "bye" {
						c.Disconnect(errors.New("come again"))
					}
					return nil
				},
				Notify: func(_ *bridge.Client, e bridge.Event) {
					if e.Kind == bridge.Closed {
						closed <- e.Reason
					}
				},
			})
			p := s.dial(tr)
			p.write(`{"type":"send","address":"bye"}`)
			if got := p.read(); got != "" {
				t.Errorf("it read %s", got)
			}
			if err := <-closed; err == nil || err.Error() != "come again" {
				t.Errorf("closed for %v", err)
			}
			if ws, ok := p.(*wsPeer); ok && !strings.Contains(fmt.Sprint(ws.end, ws.err), "come again") {
				t.Errorf("the connection ended with %q, %v", ws.end, ws.err)
			}
		})
	}
}

// A panic of a hook ends what it was asked for, and nothing else.
func TestHookPanics(t *testing.T) {
	t.Parallel()
	bad := func(where string) error {
		if where == "bad" {
			panic("oh")
		}
		return nil
	}
	c := bridge.Config{
		Rules:     everything,
		Authorize: func(_ context.Context, _ *bridge.Client, e *bridge.Event) error { return bad(e.Address) },
		Notify:    func(*bridge.Client, bridge.Event) { panic("oh") },
		ToBus: func(address string, body json.RawMessage) (any, error) {
			return body, bad(strings.TrimPrefix(address, "to"))
		},
		ToClient: func(address string, m *bus.Message) (json.RawMessage, error) {
			return json.RawMessage("1"), bad(strings.TrimPrefix(address, "from"))
		},
	}
	overAll(t, c, func(t *testing.T, s *setup, tr string) {
		consume(t, s.eb, "echo", bus.HandlerFunc(echo))
		consume(t, s.eb, "frombad", bus.HandlerFunc(echo))
		p := s.dial(tr)
		for _, frame := range []string{
			`{"type":"register","address":"bad"}`, `{"type":"send","address":"bad"}`,
			`{"type":"send","address":"tobad"}`, `{"type":"send","address":"frombad","replyAddress":"r"}`,
		} {
			p.write(frame)
			if got := p.read(); !strings.Contains(got, "panicked") {
				t.Errorf("%s: %s", frame, got)
			}
		}
		p.write(`{"type":"send","address":"echo","replyAddress":"r","body":1}`)
		expect(t, p, flavour(tr, `{"type":"message","address":"r","headers":{},"body":1,"send":true}`))
	})
}

// A hook that ends its goroutine, as t.FailNow does, ends the connection; an interceptor
// of the bus that panics ends the frame.
func TestHookEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	for _, tr := range transports {
		t.Run(tr, func(t *testing.T) {
			t.Parallel()
			var d diary
			c := d.noting()
			c.Authorize = func(_ context.Context, _ *bridge.Client, e *bridge.Event) error {
				d.note(e)
				if e.Address == "exit" {
					runtime.Goexit()
				}
				return nil
			}
			eb := bustest.NewBus(t, bus.WithOutbound(func(next bus.Caller) bus.Caller {
				return func(ctx context.Context, call *bus.Call) (*bus.Message, error) {
					if call.Address == "panic" {
						panic("oh")
					}
					return next(ctx, call)
				}
			}))
			s := newSetup(t, eb, c)
			p := s.dial(tr)
			for _, frame := range []string{
				`{"type":"send","address":"panic"}`, `{"type":"publish","address":"panic"}`, `{"type":"send","address":"panic","replyAddress":"r"}`,
			} {
				p.write(frame)
				if got := p.read(); !strings.Contains(got, "panicked") {
					t.Errorf("%s: %s", frame, got)
				}
			}
			p.write(`{"type":"send","address":"exit"}`)
			if got := p.read(); got != "" {
				t.Errorf("it read %s", got)
			}
			within(t, "closed", func() bool { return strings.HasPrefix(last(d.all()), "closed") })
			if st := s.bridge.Stats(); st.Clients != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}
