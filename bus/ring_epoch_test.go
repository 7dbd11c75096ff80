package bus_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// epochs has each message that comes to a consumer told with its epoch.
func epochs(t *testing.T, eb *bus.EventBus, address string, opts ...bus.ConsumeOption) (*bus.Consumer, chan uint64) {
	t.Helper()
	got := make(chan uint64, 100)
	return consume(t, eb, address, func(_ context.Context, m *bus.Message) error {
		got <- m.Epoch()
		return nil
	}, opts...), got
}

// The epoch is the same as long as no consumer that could own a key comes or goes on any
// node, and rises then; an event tells of it where messages by key have come.
func TestEpochOfKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		moved := make(chan bus.KeysMoved, 100)
		c := bustest.NewCluster(t, 3, quiet, bus.WithEvents(func(e bus.Event) {
			if m, ok := e.(bus.KeysMoved); ok && m.Address == "a" {
				moved <- m
			}
		}))
		_, got := epochs(t, c.Bus(1), "a")
		ask := func() uint64 {
			t.Helper()
			var e uint64
			for range 3 {
				if _, err := c.Bus(0).Request(t.Context(), "a", nil, bus.ByKey("k")); err != nil {
					t.Fatal(err)
				}
				if e = <-got; e == 0 {
					t.Error("no epoch")
				}
			}
			return e
		}
		noEvent := func(what string) {
			t.Helper()
			if synctest.Wait(); len(moved) > 0 {
				t.Errorf("%s: %v", what, <-moved)
			}
		}
		last := ask()
		same := func(what string) {
			t.Helper()
			if e := ask(); e != last {
				t.Errorf("%s: epoch %d after %d", what, e, last)
			}
			noEvent(what)
		}
		rises := func(what string) {
			t.Helper()
			synctest.Wait()
			for len(got) > 0 {
				<-got
			}
			e := <-moved
			if e.Epoch <= last {
				t.Errorf("%s: epoch %d after %d", what, e.Epoch, last)
			}
			last = e.Epoch
			noEvent(what)
		}
		same("nothing happens")
		consume(t, c.Bus(2), "other", nothing)
		same("a consumer of another address comes")
		local := consume(t, c.Bus(1), "a", nothing, bus.LocalOnly())
		same("a consumer that owns no keys comes")
		local.Close()
		same("a consumer that owns no keys goes")
		listener := consume(t, c.Bus(2), "a", nothing, bus.PublishedOnly())
		same("a listener comes")
		listener.Close()
		same("a listener goes")
		other := consume(t, c.Bus(2), "a", func(context.Context, *bus.Message) error { return nil })
		rises("a consumer comes on another node")
		other.Close()
		rises("it goes")
		same("it has gone")
		own := consume(t, c.Bus(1), "a", nothing)
		rises("a consumer comes on this node")
		own.Close()
		rises("it goes again")
		consume(t, c.Bus(2), "a", nothing)
		rises("one comes")
		c.Break(1, 2)
		rises("its link breaks")
	})
}

// Where no message has come by key nobody is told that keys have moved.
func TestNoEventWithoutKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet, bus.WithEvents(func(e bus.Event) {
			if _, ok := e.(bus.KeysMoved); ok {
				t.Errorf("%v", e)
			}
		}))
		defer eb.Close()
		_, got := epochs(t, eb, "a")
		for range 3 {
			if err := eb.Send(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
			if <-got == 0 {
				t.Error("no epoch")
			}
			consume(t, eb, "a", nothing).Close()
		}
		if e := (&bus.Message{}).Epoch(); e != 0 {
			t.Errorf("epoch %d", e)
		}
		if m, err := eb.Request(t.Context(), "a", nil); err != nil || m.Epoch() != 0 {
			t.Errorf("%v, %v", m.Epoch(), err)
		}
	})
}

// As a bus becomes part of a cluster its consumers' keys are shared out anew.
func TestEpochOfABusThatJoins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		moved := make(chan bus.KeysMoved, 100)
		eb := bus.New(quiet, bus.WithEvents(func(e bus.Event) {
			if m, ok := e.(bus.KeysMoved); ok {
				moved <- m
			}
		}))
		defer eb.Close()
		_, got := epochs(t, eb, "a")
		if err := eb.Send(t.Context(), "a", nil, bus.ByKey("k")); err != nil {
			t.Fatal(err)
		}
		before := <-got
		if _, err := eb.Attach(bus.Peer{Name: "n", Boot: 7}, nil); err != nil {
			t.Fatal(err)
		}
		if e := <-moved; e.Address != "a" || e.Epoch <= before {
			t.Errorf("%v after %d", e, before)
		}
	})
}
