package bus_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A consumer that never returns holds up those who send to it, who get ErrBusy
// by their deadline, and costs its window for each of them; nobody else on the
// same links notices.
func TestStuckConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet, bus.WithMemory(4<<20))
		block := make(chan struct{})
		defer close(block)
		consume(t, c.Bus(1), "stuck", func(context.Context, *bus.Message) error { <-block; return nil })
		consume(t, c.Bus(1), "other", nothing)
		before := heap()
		end := time.Now().Add(10 * time.Second)
		var wg sync.WaitGroup
		var busy, others atomic.Int32
		for g := range 8 {
			from := c.Bus(g % 2 * 2)
			wg.Go(func() {
				for time.Now().Before(end) {
					ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
					err := from.Send(ctx, "stuck", make([]byte, 4<<10))
					cancel()
					if errors.Is(err, bus.ErrBusy) && errors.Is(err, context.DeadlineExceeded) {
						busy.Add(1)
					} else if err != nil {
						t.Error(err)
						return
					}
				}
			})
			wg.Go(func() {
				for time.Now().Before(end) {
					begin := time.Now()
					if _, err := from.Request(t.Context(), "other", make([]byte, 1<<10)); err != nil || time.Since(begin) > 0 {
						t.Errorf("another address, after %v: %v", time.Since(begin), err)
						return
					}
					others.Add(1)
					time.Sleep(time.Millisecond)
				}
			})
		}
		wg.Wait()
		if busy.Load() < 8*150 || others.Load() < 8*5000 {
			t.Errorf("%d were busy, %d others went", busy.Load(), others.Load())
		}
		if grown := heap() - before; grown > 4<<20 { // two senders, a window of at most 1 MiB and 64 KiB each, and 1 MiB of bodies to be used again
			t.Errorf("the heap has grown by %d KiB", grown>>10)
		}
	})
}

// A sender with a stuck consumer and another one loses nothing and moves to the
// one that keeps up, wherever the two are.
func TestMovesToWhoKeepsUp(t *testing.T) {
	for name, at := range map[string]int{"one node": 1, "two nodes": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := bustest.NewCluster(t, 3, quiet)
				block := make(chan struct{})
				defer close(block)
				var stuck, handled atomic.Int32
				consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { stuck.Add(1); <-block; return nil })
				consume(t, c.Bus(at), "a", func(context.Context, *bus.Message) error { handled.Add(1); return nil })
				const n = 20000
				for i := range n {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					if err := c.Bus(0).Send(ctx, "a", make([]byte, 896)); err != nil {
						t.Fatalf("message %d: %v", i, err)
					}
					cancel()
				}
				time.Sleep(time.Second)
				window := int32((1<<20 + 64<<10) / 1024) // messages of 1 KiB
				if got := handled.Load(); got < n-window-1 || stuck.Load() != 1 {
					t.Errorf("%d of %d handled", got, n)
				}
			})
		})
	}
}
