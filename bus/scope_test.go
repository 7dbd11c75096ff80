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
			return p.to.Scope().Do(ctx, func(ctx context.Context) error {
				if _, err := scope.Request(ctx, "a", 1); !errors.Is(err, bus.ErrDeadlock) {
					t.Errorf("request to the own scope with another's turn: %v", err)
				}
				return nil
			})
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
			if err := p.to.Scope().Do(ctx, func(ctx context.Context) error {
				return scope.Do(ctx, func(context.Context) error { return nil })
			}); !errors.Is(err, bus.ErrDeadlock) {
				t.Errorf("Do by way of another scope: %v", err)
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

// A handler that takes a turn still holds up its own consumer, in a scope or not.
func TestRequestOfItselfFromATurn(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		consume(t, p.to, "a", func(ctx context.Context, _ *bus.Message) error {
			return p.to.Scope().Do(ctx, func(ctx context.Context) error {
				if _, err := p.to.Request(ctx, "a", nil); !errors.Is(err, bus.ErrDeadlock) {
					t.Errorf("request of itself: %v", err)
				}
				return nil
			})
		})
		if _, err := p.from.Request(t.Context(), "a", nil); err != nil {
			t.Error(err)
		}
	})
}

// The context of a Do that is over holds no turn.
func TestContextOfDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		s := eb.Scope()
		var kept context.Context
		s.Do(t.Context(), func(ctx context.Context) error {
			kept = ctx
			_, err := s.Consume("a", bus.HandlerFunc(nothing))
			return err
		})
		if _, err := eb.Request(kept, "a", nil); err != nil {
			t.Error(err)
		}
		s.Do(t.Context(), func(ctx context.Context) error {
			eb.Scope().Do(ctx, func(ctx context.Context) error { kept = ctx; return nil })
			if err := s.Do(kept, func(context.Context) error { return nil }); !errors.Is(err, bus.ErrDeadlock) {
				t.Errorf("with the turn that its Do was called in: %v", err)
			}
			return nil
		})
		if _, err := eb.Request(kept, "a", nil); err != nil {
			t.Error(err)
		}
	})
}

// A consumer of more than one message at once takes no turn, may take it by Do,
// and is announced with the others of the Do that registers it.
func TestConcurrencyInScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		s := eb.Scope()
		const n = 3
		all := make(chan struct{}, n)
		turns := 0 // guarded by the turn
		err := s.Do(t.Context(), func(ctx context.Context) error {
			_, err := s.Consume("beside", bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error {
				all <- struct{}{}
				return s.Do(ctx, func(context.Context) error { turns++; return nil })
			}), bus.WithConcurrency(n))
			if err := eb.Send(ctx, "beside", nil); !errors.Is(err, bus.ErrNoConsumer) {
				t.Errorf("before Do ended: %v", err)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Do(t.Context(), func(context.Context) error {
			for range n {
				if err := eb.Send(t.Context(), "beside", nil); err != nil {
					t.Error(err)
				}
			}
			for range n { // while somebody else holds the turn
				<-all
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if turns != n {
			t.Errorf("%d turns; want %d", turns, n)
		}
	})
}

// TestBusy: the time of a scope's turn is that of its handlers and of Do, also while
// they run, and of nothing else.
func TestBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New()
		defer eb.Close()
		scope := eb.Scope()
		sleeps := bus.HandlerFunc(func(context.Context, *bus.Message) error { time.Sleep(time.Second); return nil })
		_, err := scope.Consume("turn", sleeps)
		_, beside := scope.Consume("beside", sleeps, bus.WithConcurrency(2))
		if err != nil || beside != nil {
			t.Fatal(err, beside)
		}
		busy := func(want time.Duration) {
			t.Helper()
			if got := scope.Busy(); got < want || got > want+time.Millisecond {
				t.Errorf("busy for %v, want %v", got, want)
			}
		}
		busy(0)
		for _, address := range []string{"turn", "beside", "turn"} {
			if _, err := eb.Request(t.Context(), address, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		busy(2 * time.Second)
		if err := scope.Do(t.Context(), func(context.Context) error {
			time.Sleep(time.Second)
			busy(3 * time.Second)
			return nil
		}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		busy(3 * time.Second)
		if eb.Busy() != 0 {
			t.Error("a bus that is no scope has a turn")
		}
	})
}
