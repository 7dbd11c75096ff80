package bus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
)

const length bus.Endpoint[string, int] = "length"

func TestEndpoint(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		c, err := p.to.Consume(length.Address(), length.Respond(func(_ context.Context, s string) (int, error) { return len(s), nil }))
		if err != nil || c.Known(t.Context()) != nil {
			t.Fatal(err)
		}
		if n, err := length.Request(t.Context(), p.from, "four"); n != 4 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

func ExampleEndpoint() {
	const length bus.Endpoint[string, int] = "length"
	eb := bus.New()
	defer eb.Close()
	if _, err := eb.Consume(length.Address(), length.Respond(func(_ context.Context, s string) (int, error) { return len(s), nil })); err != nil {
		fmt.Println(err)
	}
	n, err := length.Request(context.Background(), eb, "four")
	fmt.Println(n, err)
	// Output: 4 <nil>
}

// A typed function has its message: also below contexts of its own, after it has
// returned, and for a reply with headers.
func TestMessageOf(t *testing.T) {
	if m := bus.MessageOf(t.Context()); m != nil {
		t.Errorf("%v of no handler", m)
	}
	everywhere(t, func(t *testing.T, p pair) {
		kept := make(chan context.Context, 1)
		c, err := p.to.Consume("a", bus.Respond(func(ctx context.Context, s string) (string, error) {
			below, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			m := bus.MessageOf(below)
			kept <- ctx
			if s == "plain" {
				return m.Header().Get("k") + m.Address(), nil
			}
			return "dropped", m.Reply(ctx, "own", bus.WithHeader("answer", m.Header().Get("k")))
		}))
		if err != nil || c.Known(t.Context()) != nil {
			t.Fatal(err)
		}
		if s, err := bus.Request[string](t.Context(), p.from, "a", "plain", bus.WithHeader("k", "v")); s != "va" || err != nil {
			t.Errorf("%q, %v", s, err)
		}
		if m := bus.MessageOf(<-kept); m.Address() != "a" || m.Header().Get("k") != "v" {
			t.Errorf("after the handler: %v", m)
		}
		m, err := p.from.Request(t.Context(), "a", "with headers", bus.WithHeader("k", "v"))
		if err != nil {
			t.Fatal(err)
		}
		var s string
		if err := m.Decode(&s); err != nil || s != "own" || m.Header().Get("answer") != "v" {
			t.Errorf("reply %q, header %v, %v", s, m.Header(), err)
		}
		<-kept
		var h bus.Header
		typed, err := bus.Request[string](t.Context(), p.from, "a", "with headers", bus.WithHeader("k", "v"), bus.ReplyHeader(&h))
		if err != nil || typed != "own" || h.Get("answer") != "v" {
			t.Errorf("typed reply %q, header %v, %v", typed, h, err)
		}
		if _, err := p.from.Request(t.Context(), "nobody", nil, bus.ReplyHeader(&h)); err == nil || h.Get("answer") != "v" {
			t.Errorf("after an error: header %v, %v", h, err)
		}
		if err := p.from.Send(t.Context(), "a", "", bus.ReplyHeader(&h)); err == nil {
			t.Error("Send took ReplyHeader")
		}
		<-kept
	})
}

func ExampleMessageOf() {
	eb := bus.New()
	defer eb.Close()
	_, err := eb.Consume("greet", bus.Respond(func(ctx context.Context, name string) (string, error) {
		return "hello, " + name + ", in " + bus.MessageOf(ctx).Header().Get("language"), nil
	}))
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(bus.Request[string](context.Background(), eb, "greet", "ada", bus.WithHeader("language", "Go")))
	// Output: hello, ada, in Go <nil>
}
