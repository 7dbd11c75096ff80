package bus_test

import (
	"context"
	"testing"

	"github.com/runrig-go/runrig/bus"
)

// A message, and a reply, tells by which call it came.
func TestVerb(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		got := make(chan string, 1)
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			got <- m.Verb()
			if m.WantsReply() && m.Header().Get("ask") != "" {
				a, err := m.Request(ctx, nil)
				if err == nil {
					got <- a.Verb()
				}
			}
			return nil
		})
		check := func(want string, err error) {
			t.Helper()
			if v := receive(t, got); v != want || err != nil {
				t.Errorf("it came by %q, %v; want %q", v, err, want)
			}
		}
		check(bus.VerbSend, p.from.Send(t.Context(), "a", 1))
		check(bus.VerbPublish, p.from.Publish(t.Context(), "a", 1))
		m, err := p.from.Request(t.Context(), "a", 1)
		check(bus.VerbRequest, err)
		if v := m.Verb(); v != bus.VerbReply {
			t.Errorf("a reply came by %q", v)
		}
		_, err = p.from.RequestAll(t.Context(), "a", 1)
		check(bus.VerbRequest, err)
		q, err := p.from.Request(t.Context(), "a", 1, bus.WithHeader("ask", "1"))
		check(bus.VerbRequest, err)
		if v := q.Verb(); v != bus.VerbAsk {
			t.Errorf("a question came by %q", v)
		}
		check(bus.VerbReply, q.Reply(t.Context(), 1))
	})
	if v := new(bus.Message).Verb(); v != "" {
		t.Errorf("a message that nobody sent came by %q", v)
	}
}
