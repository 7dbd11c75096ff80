package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

var quiet = bus.WithLogger(slog.New(slog.DiscardHandler))

// pair is a bus that sends and one that consumes: the same bus, or two nodes.
type pair struct {
	from, to *bus.EventBus
	linked   bool
}

// both runs a test alone and clustered, with the same expectations.
func both(t *testing.T, test func(t *testing.T, p pair)) {
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		eb := bus.New(quiet)
		t.Cleanup(func() { eb.Close() })
		test(t, pair{eb, eb, false})
	})
	t.Run("clustered", func(t *testing.T) {
		t.Parallel()
		c := bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(2*time.Second))
		test(t, pair{c.Bus(0), c.Bus(1), true})
	})
}

func (p pair) consume(t *testing.T, address string, h bus.Handler, opts ...bus.ConsumeOption) *bus.Consumer {
	t.Helper()
	c, err := p.to.Consume(address, h, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Known(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came within 10 s")
	}
	panic("unreachable")
}

type point struct{ X, Y int }

func TestBodies(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		p.consume(t, "double", bus.Respond(func(_ context.Context, v point) (point, error) { return point{2 * v.X, 2 * v.Y}, nil }))
		if got, err := bus.Request[point](t.Context(), p.from, "double", point{1, 2}); err != nil || got != (point{2, 4}) {
			t.Errorf("JSON: %v, %v", got, err)
		}
		p.consume(t, "upper", bus.Respond(func(_ context.Context, v []byte) ([]byte, error) { return []byte(strings.ToUpper(string(v))), nil }))
		if got, err := bus.Request[[]byte](t.Context(), p.from, "upper", []byte("ada")); err != nil || string(got) != "ADA" {
			t.Errorf("bytes: %q, %v", got, err)
		}
		p.consume(t, "next", bus.Respond(func(_ context.Context, v *wrapperspb.Int64Value) (*wrapperspb.Int64Value, error) {
			return wrapperspb.Int64(v.Value + 1), nil
		}))
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
	both(t, func(t *testing.T, p pair) {
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

		p.consume(t, "fails", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
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
		}))
		for body, want := range map[string]bus.ReplyError{
			"own": {7, "no"}, "plain": {bus.CodeFailed, "broken"}, "panic": {bus.CodePanic, "the handler panicked"},
			"mine": {bus.CodeFailed, "nested: bus: no consumer"},
		} {
			_, err := p.from.Request(ctx, "fails", []byte(body))
			var got *bus.ReplyError
			if !errors.As(err, &got) || *got != want || errors.Is(err, bus.ErrNoConsumer) {
				t.Errorf("%s: %v", body, err)
			}
		}
		if m, err := p.from.Request(ctx, "fails", nil); err != nil || len(m.Body) != 0 {
			t.Errorf("nil return: %v, %v", m, err)
		}
	})
}

func TestMessage(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		got := make(chan *bus.Message, 1)
		p.consume(t, "a", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			got <- m
			if m.WantsReply() {
				return m.Reply(ctx, "hi", bus.WithHeader("R", "1"), bus.WithHeader("r", "2"))
			}
			if err := m.Reply(ctx, "x"); err == nil {
				t.Error("a send was replied to")
			}
			return nil
		}))
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
	both(t, func(t *testing.T, p pair) {
		const senders, each = 4, 2000
		var mu sync.Mutex
		last, bad := map[int]int{}, 0
		done := make(chan struct{})
		n := 0
		p.consume(t, "a", bus.Receive(func(_ context.Context, v [2]int) error {
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
		}))
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

func TestDeadlineAndCancel(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		ended, asked := make(chan error), make(chan error)
		p.consume(t, "slow", bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error {
			<-ctx.Done()
			ended <- ctx.Err() // when the requester has ended
			return nil
		}))
		ask := func(ctx context.Context) error {
			go func() {
				_, err := p.from.Request(ctx, "slow", nil)
				asked <- err
			}()
			return receive(t, asked)
		}
		ctx, cancel := context.WithCancel(t.Context())
		started := time.AfterFunc(50*time.Millisecond, cancel)
		defer started.Stop()
		if err := ask(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled request: %v", err)
		}
		if err := receive(t, ended); !errors.Is(err, context.Canceled) {
			t.Errorf("its handler: %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("late request: %v", err)
		}
		if err := receive(t, ended); err == nil {
			t.Errorf("its handler: %v", err)
		}
	})
}

func TestBackPressure(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		release := make(chan struct{})
		var n atomic.Int32
		p.consume(t, "slow", bus.HandlerFunc(func(context.Context, *bus.Message) error { <-release; n.Add(1); return nil }), bus.WithWindow(8<<10))
		p.consume(t, "other", bus.Respond(func(_ context.Context, s string) (string, error) { return s, nil }))
		sent := 0
		for {
			ctx, cancel := context.WithCancel(t.Context()) // no deadline: what has one expires
			giveUp := time.AfterFunc(100*time.Millisecond, cancel)
			err := p.from.Send(ctx, "slow", make([]byte, 1000))
			giveUp.Stop()
			cancel()
			if err != nil {
				if !errors.Is(err, bus.ErrBusy) || !errors.Is(err, context.Canceled) {
					t.Errorf("full: %v", err)
				}
				break
			}
			sent++
		}
		if want := 8; sent != want { // 1128 bytes each; one may start while any is left
			t.Errorf("%d messages fit, not %d", sent, want)
		}
		begin := time.Now()
		if err := p.from.Publish(t.Context(), "slow", nil); err != nil {
			t.Error(err)
		}
		if err := p.from.Publish(t.Context(), "slow", nil); err != nil || p.from.Stats().Skipped != 2 {
			t.Errorf("publish: %v, %d skipped", err, p.from.Stats().Skipped)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("two publishes took %v", took)
		}
		if _, err := p.from.Request(t.Context(), "other", "x"); err != nil {
			t.Errorf("another address: %v", err)
		}
		wait := make(chan error)
		go func() { wait <- p.from.Send(context.Background(), "slow", nil) }()
		close(release)
		if err := receive(t, wait); err != nil {
			t.Errorf("a send that waited: %v", err)
		}
		within(t, "all handled", func() bool { return n.Load() == int32(sent)+1 })
		within(t, "all settled", func() bool { s := p.from.Stats(); return s.Sent == s.Settled+s.Bounced+s.Unknown })
	})
}

func TestCloseConsumer(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		block, started := make(chan struct{}), make(chan struct{}, 1)
		first := p.consume(t, "a", bus.HandlerFunc(func(context.Context, *bus.Message) error { started <- struct{}{}; <-block; return nil }))
		const n = 20
		for i := range n {
			if err := p.from.Send(t.Context(), "a", i); err != nil {
				t.Fatal(err)
			}
		}
		receive(t, started)
		first.Close()
		first.Close()
		var mu sync.Mutex
		var got []int
		second := p.consume(t, "a", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
			mu.Lock()
			defer mu.Unlock()
			var i int
			if !m.Rerouted() {
				t.Error("not marked as rerouted")
			}
			got = append(got, i)
			return m.Decode(&got[len(got)-1])
		}))
		within(t, "all others handled", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == n-1 })
		mu.Lock()
		if !slices.IsSorted(got) || got[0] != 1 {
			t.Errorf("got %v", got)
		}
		mu.Unlock()
		select {
		case <-first.Done():
			t.Error("Done while its handler runs")
		default:
		}
		close(block)
		receive(t, first.Done())
		if err := first.Known(t.Context()); !errors.Is(err, bus.ErrClosed) && p.linked {
			t.Errorf("Known of a closed one: %v", err)
		}
		second.Close()
		if err := p.from.Send(t.Context(), "a", 1); p.linked {
			within(t, "nobody left", func() bool { return errors.Is(p.from.Send(t.Context(), "a", 1), bus.ErrNoConsumer) })
		} else if !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("nobody left: %v", err)
		}
	})
}

func TestScope(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		scope := p.to.Scope()
		n := 0 // no lock: the scope's turn guards it
		for _, a := range []string{"a", "b"} {
			if _, err := scope.Consume(a, bus.Respond(func(context.Context, int) (int, error) { n++; return n, nil })); err != nil {
				t.Fatal(err)
			}
		}
		c, err := scope.Consume("self", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			if _, err := scope.Request(ctx, "a", 1); !errors.Is(err, bus.ErrDeadlock) {
				t.Errorf("request to the own scope: %v", err)
			}
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Known(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.from.Request(t.Context(), "self", nil); err != nil {
			t.Error(err)
		}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 200 {
					if _, err := p.from.Request(t.Context(), string(rune('a'+i%2)), 1); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if err := scope.Do(t.Context(), func(context.Context) error {
			if n != 1600 {
				t.Errorf("%d handled", n)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}

func TestDo(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		scope := p.to.Scope()
		ready := false
		err := scope.Do(t.Context(), func(ctx context.Context) error {
			if _, err := scope.Consume("a", bus.HandlerFunc(func(context.Context, *bus.Message) error {
				if !ready {
					t.Error("handled before Do ended")
				}
				return nil
			})); err != nil {
				return err
			}
			if _, err := p.from.Request(ctx, "a", nil); !errors.Is(err, bus.ErrNoConsumer) {
				t.Errorf("before Do ended: %v", err)
			}
			if err := scope.Do(ctx, func(context.Context) error { return nil }); !errors.Is(err, bus.ErrDeadlock) {
				t.Errorf("Do in Do: %v", err)
			}
			ready = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		within(t, "announced", func() bool { _, err := p.from.Request(t.Context(), "a", nil); return err == nil })
		failure := errors.New("failure")
		err = scope.Do(t.Context(), func(ctx context.Context) error {
			if _, err := scope.Consume("b", bus.HandlerFunc(func(context.Context, *bus.Message) error { return nil })); err != nil {
				return err
			}
			return failure
		})
		if !errors.Is(err, failure) {
			t.Error(err)
		}
		if err := p.to.Send(t.Context(), "b", nil); !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("after a failed Do: %v", err)
		}
	})
}

func TestConcurrency(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var at sync.WaitGroup
		at.Add(4)
		p.consume(t, "a", bus.HandlerFunc(func(context.Context, *bus.Message) error {
			at.Done()
			at.Wait() // all four at once
			return nil
		}), bus.WithConcurrency(4))
		for range 4 {
			if err := p.from.Send(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
		}
		at.Wait()
	})
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

func TestGossip(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		got := make(chan *bus.Message, 10)
		h := bus.HandlerFunc(func(_ context.Context, m *bus.Message) error { got <- m; return nil })
		p.consume(t, "news", h)
		if err := p.from.Publish(t.Context(), "news", "hi", bus.Gossip(), bus.WithHeader("k", "v")); err != nil {
			t.Fatal(err)
		}
		m := receive(t, got)
		var s string
		if err := m.Decode(&s); err != nil || s != "hi" || m.Via() != bus.ViaGossip || m.Header().Get("K") != "v" {
			t.Errorf("%q via %v, %v", s, m.Via(), err)
		}
		if p.linked && m.From() != "n0" {
			t.Errorf("from %q", m.From())
		}
		if err := p.from.Publish(t.Context(), "news", make([]byte, 1025), bus.Gossip()); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
	})
}
