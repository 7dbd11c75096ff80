package bus_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// fill sends until a message finds no room, and returns how many bytes did.
func fill(t *testing.T, from *bus.EventBus, address string) (n int) {
	t.Helper()
	for {
		ctx, cancel := context.WithCancel(t.Context())
		giveUp := time.AfterFunc(100*time.Millisecond, cancel)
		err := from.Send(ctx, address, make([]byte, 896)) // 1 KiB with its charge
		giveUp.Stop()
		cancel()
		if err != nil {
			return n
		}
		n += 1024
	}
}

// A window grows only where a sender is held up, within its own bound and the
// node's pool, and goes back to the pool when it is not needed.
func TestWindowGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet, bus.WithMemory(100<<10))
		gate, again := make(chan struct{}), make(chan struct{})
		var second atomic.Bool
		slow := func(context.Context, *bus.Message) error {
			if second.Load() {
				<-again
			} else {
				<-gate
			}
			return nil
		}
		consume(t, c.Bus(1), "a", slow)
		if n := fill(t, c.Bus(0), "a"); n != 16<<10 { // nothing has waited for long enough to be sent
			t.Errorf("the first window took %d bytes", n)
		}
		// Those that waited say so when they go.
		for range 40 {
			go func() { _ = c.Bus(0).Send(context.Background(), "a", make([]byte, 896)) }()
		}
		synctest.Wait()
		for _, half := range []int{8, 16} { // of the window: less tells nothing
			for range half {
				gate <- struct{}{}
			}
			synctest.Wait()
		}
		time.Sleep(time.Second)
		more := fill(t, c.Bus(0), "a")
		if more < 32<<10 || more > 16<<10+100<<10 {
			t.Errorf("the window that has grown took %d bytes more", more)
		}
		consume(t, c.Bus(1), "b", slow)
		if n := fill(t, c.Bus(0), "b"); n != 16<<10 {
			t.Errorf("beside it another one has %d bytes", n)
		}
		close(gate)
		// Traffic that does not wait gives the pool back what it does not need.
		for range 2000 {
			if err := c.Bus(0).Send(t.Context(), "a", make([]byte, 896)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second) // for the last credit
		second.Store(true)
		defer close(again)
		if n := fill(t, c.Bus(0), "a"); n != 16<<10 {
			t.Errorf("at last the window took %d bytes", n)
		}
	})
}
