package bus_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// counter is a handler that counts.
type counter struct{ atomic.Int32 }

func (c *counter) Handle(context.Context, *bus.Message) error { c.Add(1); return nil }

// twoNodes runs a test on two linked buses in virtual time.
func twoNodes(t *testing.T, test func(t *testing.T, here, there *bus.EventBus)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		test(t, c.Bus(0), c.Bus(1))
	})
}

// A consumer of its own node alone is not there for others, whatever the verb.
func TestLocalConsumerIsInvisibleElsewhere(t *testing.T) {
	twoNodes(t, func(t *testing.T, here, there *bus.EventBus) {
		var got counter
		consume(t, there, "a", got.Handle, bus.LocalOnly())
		_, asked := here.Request(t.Context(), "a", nil)
		for verb, err := range map[string]error{"send": here.Send(t.Context(), "a", nil), "request": asked} {
			if !errors.Is(err, bus.ErrNoConsumer) {
				t.Errorf("%s: %v", verb, err)
			}
		}
		if err := here.Publish(t.Context(), "a", nil); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := got.Load(); n != 0 {
			t.Errorf("it got %d", n)
		}
		if _, err := there.Request(t.Context(), "a", nil); err != nil || got.Load() != 1 {
			t.Errorf("from its own node: %v", err)
		}
	})
}

// What comes from other nodes passes by a node's local consumer, and its others
// share it evenly.
func TestRemoteMessagesPassLocalConsumersBy(t *testing.T) {
	twoNodes(t, func(t *testing.T, here, there *bus.EventBus) {
		var local, first, second counter
		consume(t, there, "a", local.Handle, bus.LocalOnly())
		consume(t, there, "a", first.Handle)
		consume(t, there, "a", second.Handle)
		for range 50 {
			if err := here.Send(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := here.Publish(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if first.Load() != 26 || second.Load() != 26 || local.Load() != 0 {
			t.Errorf("%d and %d, the local one %d", first.Load(), second.Load(), local.Load())
		}
	})
}

// For messages of its own node a local consumer is like any other.
func TestLocalConsumerTakesItsTurn(t *testing.T) {
	twoNodes(t, func(t *testing.T, here, there *bus.EventBus) {
		var local, remote counter
		consume(t, there, "a", remote.Handle)
		consume(t, here, "a", local.Handle, bus.LocalOnly())
		for range 50 {
			if err := here.Send(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := here.Publish(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if local.Load() != 26 || remote.Load() != 26 {
			t.Errorf("the local one got %d, the remote one %d", local.Load(), remote.Load())
		}
	})
}

// Messages for this node alone go to its consumers, those that others know too,
// and to no other.
func TestLocalMessagesStayHere(t *testing.T) {
	twoNodes(t, func(t *testing.T, here, there *bus.EventBus) {
		var private, public, remote counter
		consume(t, here, "a", private.Handle, bus.LocalOnly())
		consume(t, here, "a", public.Handle)
		consume(t, there, "a", remote.Handle)
		for range 10 {
			if err := here.Send(t.Context(), "a", nil, bus.LocalOnly()); err != nil {
				t.Fatal(err)
			}
			if _, err := here.Request(t.Context(), "a", nil, bus.LocalOnly()); err != nil {
				t.Fatal(err)
			}
			if err := here.Publish(t.Context(), "a", nil, bus.LocalOnly()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if private.Load() != 20 || public.Load() != 20 || remote.Load() != 0 { // half of the sends and requests, and each publish
			t.Errorf("private %d, public %d, remote %d", private.Load(), public.Load(), remote.Load())
		}
	})
}
