package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// Numbers of closed consumers are used again, for others, and nothing gets
// mixed up.
func TestNumberReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		var wrong atomic.Int32
		for i := range 200 {
			address := fmt.Sprint("a", i)
			cn := consume(t, c.Bus(1), address, func(_ context.Context, m *bus.Message) error {
				time.Sleep(time.Duration(i%7) * time.Millisecond)
				if string(m.Body) != address {
					wrong.Add(1)
				}
				return nil
			})
			for range 3 {
				if err := c.Bus(0).Send(t.Context(), address, []byte(address)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * time.Millisecond)
			cn.Close()
		}
		if wrong.Load() > 0 {
			t.Errorf("%d messages at the wrong consumer", wrong.Load())
		}
		if n := len(c.Bus(0).Peers()); n != 1 {
			t.Error("the link has ended")
		}
	})
}

func TestCloseConsumer(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		block, started := make(chan struct{}), make(chan struct{}, 1)
		first := consume(t, p.to, "a", func(context.Context, *bus.Message) error { started <- struct{}{}; <-block; return nil })
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
		second := consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error {
			mu.Lock()
			defer mu.Unlock()
			var i int
			if !m.Rerouted() {
				t.Error("not marked as rerouted")
			}
			got = append(got, i)
			return m.Decode(&got[len(got)-1])
		})
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

// Consumers come and go at an address while messages are published to it over
// a link. What is wrong here only the race detector sees.
func TestConsumeWhilePublishing(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 2)
	consume(t, nodes[1].EventBus, "a", nothing)
	l := newLoad()
	l.every(func(int) bool { return nodes[0].Publish(t.Context(), "a", nil) == nil })
	for range 2000 {
		c, err := nodes[1].Consume("a", bus.HandlerFunc(nothing))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	l.stop()
}
