package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/runrig-go/runrig/bus"
)

// Requests of several goroutines, each begun when the one before was placed, come
// in that order, as do sends between them, also where they had to wait for room.
func TestPlacedKeepsOrder(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		const n = 300
		got, end := make(chan int, n), make(chan struct{})
		consume(t, p.to, "a", bus.Receive(func(_ context.Context, i int) error {
			got <- i
			return nil
		}).Handle, bus.WithWindow(1<<10))
		for i := range n {
			if i%3 == 0 {
				if err := p.from.Send(t.Context(), "a", i); err != nil {
					t.Fatal(err)
				}
				go func() { end <- struct{}{} }()
				continue
			}
			placed := make(chan struct{})
			go func() {
				if _, err := p.from.Request(t.Context(), "a", i, bus.Placed(func() { close(placed) })); err != nil {
					t.Error(err)
				}
				end <- struct{}{}
			}()
			<-placed
		}
		for i := range n {
			<-end
			if g := receive(t, got); g != i {
				t.Fatalf("%d came in place of %d", g, i)
			}
		}
	})
}

// Placed is called once, and not where nothing was sent.
func TestPlacedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		n := 0
		placed := bus.Placed(func() { n++ })
		if _, err := eb.Request(t.Context(), "a", 1, placed); !errors.Is(err, bus.ErrNoConsumer) || n != 0 {
			t.Errorf("without a consumer: %v, called %d times", err, n)
		}
		consume(t, eb, "a", nothing)
		if _, err := eb.Request(t.Context(), "a", 1, placed, bus.Idempotent()); err != nil || n != 1 {
			t.Errorf("called %d times, %v", n, err)
		}
		if err := eb.Send(t.Context(), "a", 1, placed); err == nil {
			t.Error("Send took Placed")
		}
	})
}
