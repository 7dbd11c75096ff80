package bus_test

import (
	"context"
	"log/slog"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

var quiet = bus.WithLogger(slog.New(slog.DiscardHandler))

// pair is a bus that sends and one that consumes: the same bus, or two nodes.
type pair struct {
	from, to *bus.EventBus
	linked   bool
}

// both runs a test alone and clustered, with the same expectations, in virtual
// time.
func both(t *testing.T, test func(t *testing.T, p pair)) {
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			eb := bus.New(quiet)
			t.Cleanup(func() { eb.Close() })
			test(t, pair{eb, eb, false})
		})
	})
	t.Run("clustered", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(2*time.Second))
			test(t, pair{c.Bus(0), c.Bus(1), true})
		})
	})
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
	return receiveWithin(t, c, 10*time.Second)
}

func receiveWithin[T any](t *testing.T, c <-chan T, limit time.Duration) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(limit):
		t.Fatalf("nothing came within %v", limit)
	}
	return v
}

// deadLetters has f told of dead letters.
func deadLetters(f func(bus.DeadLetter)) bus.Option {
	return bus.WithEvents(func(e bus.Event) {
		if d, ok := e.(bus.DeadLetter); ok {
			f(d)
		}
	})
}

func nothing(context.Context, *bus.Message) error { return nil }

// atRest checks that what was sent is accounted for.
func atRest(t *testing.T, buses ...*bus.EventBus) {
	t.Helper()
	time.Sleep(time.Second) // for credit that is batched
	for i, eb := range buses {
		if s := eb.Stats(); s.Sent != s.Settled+s.Bounced+s.Unknown {
			t.Errorf("n%d: sent %d, settled %d, bounced %d, unknown %d", i, s.Sent, s.Settled, s.Bounced, s.Unknown)
		}
		addUp(t, eb)
	}
}

// addUp checks that the counters of all addresses are those of the bus.
func addUp(t *testing.T, eb *bus.EventBus) {
	t.Helper()
	want, got := reflect.ValueOf(eb.Stats()), map[string]uint64{}
	for _, a := range eb.Addresses() {
		v := reflect.ValueOf(a.Stats)
		for i := range v.NumField() {
			if f := v.Field(i); f.CanUint() {
				got[v.Type().Field(i).Name] += f.Uint()
			}
		}
		got["Handled"] += uint64(a.Running)
	}
	for i := range want.NumField() {
		name, f := want.Type().Field(i).Name, want.Field(i)
		if f.CanUint() && name != "LateReplies" && got[name] != f.Uint() {
			t.Errorf("%s: %d at all addresses, %d in all: %+v", name, got[name], f.Uint(), eb.Addresses())
		}
	}
	var sum bus.AddressStats
	top, rest := eb.TopAddresses(1, func(a *bus.AddressStats) uint64 { return a.Sent + a.Handled })
	for _, a := range append(top, rest) {
		sum.Sent, sum.Handled, sum.Requests.Replied = sum.Sent+a.Sent, sum.Handled+a.Handled+uint64(a.Running), sum.Requests.Replied+a.Requests.Replied
	}
	if s := eb.Stats(); sum.Sent != s.Sent || sum.Handled != s.Handled || sum.Requests.Replied != s.Requests.Replied {
		t.Errorf("the top and the rest are %+v, all %+v", sum, s)
	}
}

// consume registers a handler that all linked nodes know of.
func consume(t *testing.T, eb *bus.EventBus, address string, h bus.HandlerFunc, opts ...bus.ConsumeOption) *bus.Consumer {
	t.Helper()
	c, err := eb.Consume(address, h, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Known(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}
