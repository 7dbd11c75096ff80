package bus

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func (c *core) lingering() int {
	c.crew.mu.Lock()
	defer c.crew.mu.Unlock()
	return len(c.crew.idle)
}

// Goroutines of consumers linger for the next one, up to a number, and end when
// there is no work, or no bus.
func TestCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := New()
		var all sync.WaitGroup
		block := make(chan struct{})
		if _, err := eb.Consume("quick", HandlerFunc(func(context.Context, *Message) error { all.Done(); return nil })); err != nil {
			t.Fatal(err)
		}
		scoped := eb.Scope()
		if _, err := scoped.Consume("scoped", HandlerFunc(func(context.Context, *Message) error { all.Done(); return nil })); err != nil {
			t.Fatal(err)
		}
		if _, err := eb.Consume("slow", HandlerFunc(func(context.Context, *Message) error { <-block; return nil }), WithConcurrency(2*crewMax)); err != nil {
			t.Fatal(err)
		}
		send := func(address string) {
			t.Helper()
			if err := eb.Send(t.Context(), address, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, address := range []string{"quick", "scoped", "quick"} {
			all.Add(1)
			send(address)
			all.Wait()
			synctest.Wait()
			if n := eb.core.lingering(); n != 1 {
				t.Errorf("%d goroutines linger after one message at a time, the last to %s", n, address)
			}
		}
		for range 2 * crewMax {
			send("slow")
		}
		synctest.Wait()
		if n := eb.core.lingering(); n != 0 {
			t.Errorf("%d linger while all have work", n)
		}
		close(block)
		synctest.Wait()
		if n := eb.core.lingering(); n != crewMax {
			t.Errorf("%d linger after a rush", n)
		}
		time.Sleep(2 * coarseTick)
		if n := eb.core.lingering(); n != 0 {
			t.Errorf("%d linger on a bus without work", n)
		}
		all.Add(1)
		send("quick")
		synctest.Wait()
		if n := eb.core.lingering(); n != 1 {
			t.Errorf("%d linger before the bus closes", n)
		}
		if err := eb.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := eb.core.lingering(); n != 0 {
			t.Errorf("%d linger on a bus that has closed", n)
		}
	})
}

// A goroutine whose handler returns after the bus has closed does not linger.
func TestCrewOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := New(WithDrainTimeout(time.Second))
		block := make(chan struct{})
		if _, err := eb.Consume("late", HandlerFunc(func(context.Context, *Message) error { <-block; return nil })); err != nil {
			t.Fatal(err)
		}
		if err := eb.Send(t.Context(), "late", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := eb.Close(); err == nil {
			t.Error("Close did not say that a handler runs")
		}
		close(block)
		synctest.Wait()
		if n := eb.core.lingering(); n != 0 {
			t.Errorf("%d linger", n)
		}
	})
}
