package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

type point struct{ X, Y int }

func TestBodies(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		consume(t, p.to, "double", bus.Respond(func(_ context.Context, v point) (point, error) { return point{2 * v.X, 2 * v.Y}, nil }).Handle)
		if got, err := bus.Request[point](t.Context(), p.from, "double", point{1, 2}); err != nil || got != (point{2, 4}) {
			t.Errorf("JSON: %v, %v", got, err)
		}
		consume(t, p.to, "upper", bus.Respond(func(_ context.Context, v []byte) ([]byte, error) { return []byte(strings.ToUpper(string(v))), nil }).Handle)
		if got, err := bus.Request[[]byte](t.Context(), p.from, "upper", []byte("ada")); err != nil || string(got) != "ADA" {
			t.Errorf("bytes: %q, %v", got, err)
		}
		consume(t, p.to, "next", bus.Respond(func(_ context.Context, v *wrapperspb.Int64Value) (*wrapperspb.Int64Value, error) {
			return wrapperspb.Int64(v.Value + 1), nil
		}).Handle)
		if got, err := bus.Request[*wrapperspb.Int64Value](t.Context(), p.from, "next", wrapperspb.Int64(41)); err != nil || got.GetValue() != 42 {
			t.Errorf("protobuf: %v, %v", got, err)
		}
		if _, err := p.from.Request(t.Context(), "next", wrapperspb.Int64Value{}); err == nil || !strings.Contains(err.Error(), "pointer") {
			t.Errorf("protobuf by value: %v", err)
		}
		if err := p.from.Send(t.Context(), "next", func() {}); err == nil {
			t.Error("a body that cannot be encoded was sent")
		}
		var reply *bus.ReplyError
		if _, err := p.from.Request(t.Context(), "double", []byte("x")); !errors.As(err, &reply) || reply.Code != bus.CodeBody {
			t.Errorf("a body that does not fit: %v", err)
		}
	})
}

func TestErrors(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		ctx := t.Context()
		if _, err := p.from.Request(ctx, "nobody", nil); !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("no consumer: %v", err)
		}
		if err := p.from.Publish(ctx, "nobody", nil); err != nil {
			t.Errorf("publish to nobody: %v", err)
		}
		if err := p.from.Send(ctx, "", nil); err == nil {
			t.Error("empty address")
		}
		if err := p.from.Send(ctx, strings.Repeat("a", 256), nil); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("long address: %v", err)
		}
		if err := p.from.Send(ctx, "a", make([]byte, 16<<20+1)); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("long body: %v", err)
		}
		if err := p.from.Send(ctx, "a", nil, bus.WithHeader("k", strings.Repeat("v", 17<<10))); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("long header: %v", err)
		}
		for _, h := range []bus.Handler{nil, bus.HandlerFunc(nil)} {
			if _, err := p.to.Consume("a", h); err == nil {
				t.Error("nil handler")
			}
		}
		if err := p.from.Send(ctx, "a", nil, bus.Idempotent()); err == nil || !strings.Contains(err.Error(), "Idempotent") {
			t.Errorf("Send with Idempotent: %v", err)
		}
		if _, err := p.from.Request(ctx, "a", nil, bus.Gossip()); err == nil || !strings.Contains(err.Error(), "Gossip") {
			t.Errorf("Request with Gossip: %v", err)
		}
		if _, err := p.to.Consume("a", bus.HandlerFunc(func(context.Context, *bus.Message) error { return nil }), bus.WithWindow(1)); err == nil {
			t.Error("window of one byte")
		}

		consume(t, p.to, "fails", func(_ context.Context, m *bus.Message) error {
			switch string(m.Body) {
			case "own":
				return &bus.ReplyError{Code: 7, Message: "no"}
			case "plain":
				return errors.New("broken")
			case "panic":
				panic("secret")
			case "mine":
				return fmt.Errorf("nested: %w", bus.ErrNoConsumer)
			}
			return nil
		})
		for body, want := range map[string]bus.ReplyError{
			"own": {Code: 7, Message: "no"}, "plain": {Code: bus.CodeFailed, Message: "broken"},
			"panic": {Code: bus.CodePanic, Message: "the handler panicked"}, "mine": {Code: bus.CodeFailed, Message: "nested: bus: no consumer"},
		} {
			_, err := p.from.Request(ctx, "fails", []byte(body))
			var got *bus.ReplyError
			if !errors.As(err, &got) || got.Code != want.Code || got.Message != want.Message || errors.Is(err, bus.ErrNoConsumer) {
				t.Errorf("%s: %v", body, err)
			}
		}
		if m, err := p.from.Request(ctx, "fails", nil); err != nil || len(m.Body) != 0 {
			t.Errorf("nil return: %v, %v", m, err)
		}
	})
}

func TestMessage(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		got := make(chan *bus.Message, 1)
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			got <- m
			if m.WantsReply() {
				return m.Reply(ctx, "hi", bus.WithHeader("R", "1"), bus.WithHeader("r", "2"))
			}
			if err := m.Reply(ctx, "x"); err == nil {
				t.Error("a send was replied to")
			}
			return nil
		})
		body := []byte("body")
		if err := p.from.Send(t.Context(), "a", body, bus.WithHeader("Key", "v1"), bus.WithHeader("key", "v2")); err != nil {
			t.Fatal(err)
		}
		copy(body, "XXXX") // it may be reused
		m := receive(t, got)
		if string(m.Body) != "body" || m.Address() != "a" || !slices.Equal(m.Header().Values("KEY"), []string{"v1", "v2"}) || m.Rerouted() {
			t.Errorf("got %q at %q with %v", m.Body, m.Address(), m.Header())
		}
		want, from := bus.ViaLocal, ""
		if p.linked {
			want, from = bus.ViaLink, "n0"
		}
		if m.Via() != want || m.From() != from {
			t.Errorf("via %v from %q", m.Via(), m.From())
		}
		r, err := p.from.Request(t.Context(), "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		var s string
		if err := r.Decode(&s); err != nil || s != "hi" || !slices.Equal(r.Header().Values("r"), []string{"1", "2"}) {
			t.Errorf("reply %q %v %v", s, r.Header(), err)
		}
		if p.linked && r.From() != "n1" {
			t.Errorf("reply from %q", r.From())
		}
	})
}

// Promise 1: at most once and in order, from each sender to each consumer.
func TestOrder(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		const senders, each = 4, 2000
		var mu sync.Mutex
		last, bad := map[int]int{}, 0
		done := make(chan struct{})
		n := 0
		consume(t, p.to, "a", bus.Receive(func(_ context.Context, v [2]int) error {
			mu.Lock()
			defer mu.Unlock()
			if v[1] != last[v[0]]+1 {
				bad++
			}
			last[v[0]] = v[1]
			if n++; n == senders*each {
				close(done)
			}
			return nil
		}).Handle)
		for s := range senders {
			go func() {
				for i := range each {
					if err := p.from.Send(context.Background(), "a", [2]int{s, i + 1}); err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		receive(t, done)
		if bad > 0 {
			t.Errorf("%d messages out of order", bad)
		}
	})
}

func TestTurns(t *testing.T) {
	t.Parallel()
	c := bustest.NewCluster(t, 3, quiet)
	var got [3][2]atomic.Int32
	for i := range 3 {
		for j := range i%2 + 1 { // 1, 2, 1
			cn, err := c.Bus(i).Consume("a", bus.HandlerFunc(func(context.Context, *bus.Message) error { got[i][j].Add(1); return nil }))
			if err != nil {
				t.Fatal(err)
			}
			if err := cn.Known(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 400 {
		if _, err := c.Bus(0).Request(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		for j := range i%2 + 1 {
			if n := got[i][j].Load(); n != 100 {
				t.Errorf("consumer %d of n%d got %d of 400", j, i, n)
			}
		}
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	c := bustest.NewCluster(t, 3, quiet)
	var wg sync.WaitGroup
	for i := range 3 {
		for range 2 {
			cn, err := c.Bus(i).Consume("a", bus.Receive(func(_ context.Context, s string) error {
				if s != "x" {
					t.Errorf("got %q", s)
				}
				wg.Done()
				return nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			if err := cn.Known(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Add(3 * 2 * 100)
	for range 100 {
		if err := c.Bus(1).Publish(t.Context(), "a", "x"); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
}

func TestLocalOnly(t *testing.T) {
	t.Parallel()
	c := bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(2*time.Second))
	h := bus.Respond(func(context.Context, any) (string, error) { return "x", nil })
	if _, err := c.Bus(1).Consume("private", h, bus.LocalOnly()); err != nil {
		t.Fatal(err)
	}
	cn, err := c.Bus(1).Consume("public", h)
	if err != nil {
		t.Fatal(err)
	}
	if err := cn.Known(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Bus(0).Request(t.Context(), "private", nil); !errors.Is(err, bus.ErrNoConsumer) {
		t.Errorf("a local consumer from elsewhere: %v", err)
	}
	if _, err := c.Bus(0).Request(t.Context(), "public", nil, bus.LocalOnly()); !errors.Is(err, bus.ErrNoConsumer) {
		t.Errorf("a local request to elsewhere: %v", err)
	}
	if _, err := c.Bus(1).Request(t.Context(), "private", nil, bus.LocalOnly()); err != nil {
		t.Error(err)
	}
}
