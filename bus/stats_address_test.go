package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// of returns what the bus knows of an address; zero if it does not know it.
func of(eb *bus.EventBus, address string) bus.AddressStats {
	for _, a := range eb.Addresses() {
		if a.Address == address {
			return a
		}
	}
	return bus.AddressStats{}
}

func wantStats(t *testing.T, eb *bus.EventBus, want bus.AddressStats) {
	t.Helper()
	if got := of(eb, want.Address); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The numbers of an address as they are now: here and elsewhere.
func TestAddressStatsNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		block := make(chan struct{})
		defer close(block)
		handler := func(context.Context, *bus.Message) error { <-block; return nil }
		consume(t, c.Bus(1), "a", handler, bus.WithWindow(1<<10)).Pause()
		consume(t, c.Bus(1), "a", handler, bus.WithWindow(1<<10), bus.WithConcurrency(3))
		consume(t, c.Bus(0), "b", handler, bus.LocalOnly())
		for range 18 { // two more than the windows hold
			go c.Bus(0).Send(t.Context(), "a", nil)
		}
		synctest.Wait()
		wantStats(t, c.Bus(0), bus.AddressStats{Address: "a", Consumers: 2, Waiting: 2, Unsettled: 16, Stats: bus.Stats{Sent: 16}})
		wantStats(t, c.Bus(1), bus.AddressStats{Address: "a", Consumers: 2, Local: 2, Paused: 1, Queued: 13, Running: 3})
		wantStats(t, c.Bus(0), bus.AddressStats{Address: "b", Consumers: 1, Local: 1})
		wantStats(t, c.Bus(1), bus.AddressStats{})
		if all := c.Bus(0).Addresses(); len(all) != 2 || all[0].Address != "a" || all[1].Address != "b" {
			t.Errorf("%+v", all)
		}
	})
}

// What is counted at an address is what became of its messages; a publish counts
// once for each consumer, here or elsewhere.
func TestAddressStatsCount(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		h := func(_ context.Context, m *bus.Message) error {
			switch string(m.Body) {
			case "fail":
				return errors.New("no")
			case "panic":
				panic("no")
			}
			return nil
		}
		consume(t, p.to, "a", h)
		consume(t, p.to, "other", nothing)
		for _, body := range []string{"ok", "fail", "panic"} {
			send(t, p.from, "a", body)
			p.from.Request(t.Context(), "a", []byte(body))
			p.from.Publish(t.Context(), "a", []byte(body))
		}
		atRest(t, p.from, p.to)
		from := bus.AddressStats{Address: "a", Consumers: 1, Stats: bus.Stats{
			Sent: 9, Settled: 9, Published: 3, Requested: 3, Requests: bus.RequestStats{Replied: 1, Refused: 2},
		}}
		to := bus.AddressStats{Address: "a", Consumers: 1, Local: 1, Stats: bus.Stats{Handled: 9, Failed: 2, FailedRequests: 1, Panics: 3}}
		if !p.linked {
			s := &to.Stats
			s.Sent, s.SentLocal, s.Settled = 9, 9, 9
			s.Published, s.Requested, s.Requests = from.Published, from.Requested, from.Requests
		} else {
			wantStats(t, p.from, from)
		}
		wantStats(t, p.to, to)
	})
}

// What consumers and links that have gone had counted stays with the address, and
// is not lost when the address is forgotten.
func TestAddressStatsOfGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		keep := consume(t, c.Bus(0), "a", nothing, bus.LocalOnly())
		block := make(chan struct{})
		for round := range 3 {
			cn := consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil })
			send(t, c.Bus(0), "a", "0", "1", "2", "3")
			synctest.Wait()
			switch round {
			case 0:
				cn.Close() // one bounces
			case 1:
				c.Break(0, 1) // both are unknown
				c.Link(0, 1)
				cn.Close()
			}
			close(block)
			time.Sleep(time.Second)
			cn.Close()
			block = make(chan struct{})
			addUp(t, c.Bus(0))
			addUp(t, c.Bus(1))
		}
		time.Sleep(time.Second)
		got := of(c.Bus(0), "a")
		if got.Consumers != 1 || got.Sent != 13 || got.Settled != 10 || got.Bounced != 1 || got.Unknown != 2 || got.Rerouted != 1 {
			t.Errorf("%+v", got)
		}
		if got := of(c.Bus(1), ""); got.Handled != 4 || got.CutOff != 1 {
			t.Errorf("of the node that has forgotten the address: %+v", got)
		}
		keep.Close()
		if got := of(c.Bus(0), ""); got.Sent != 13 || got.Bounced != 1 || got.Unknown != 2 || len(c.Bus(0).Addresses()) != 1 {
			t.Errorf("forgotten: %+v", c.Bus(0).Addresses())
		}
		addUp(t, c.Bus(0))
	})
}

// The sums are right whatever happens, also while consumers are closed by their own
// handlers, with their bus, or never heard of.
func TestAddressStatsAddUp(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		for range 20 {
			var c *bus.Consumer
			var n atomic.Int32
			ready := make(chan struct{})
			c = consume(t, p.to, "a", func(context.Context, *bus.Message) error {
				<-ready
				if n.Add(1) == 5 {
					c.Close()
				}
				time.Sleep(time.Millisecond)
				return nil
			}, bus.WithWindow(1<<10), bus.WithConcurrency(2))
			close(ready)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			for range 12 {
				go p.from.Send(ctx, "a", nil)
				synctest.Wait()
				go p.from.Request(ctx, "a", nil)
				go p.from.Publish(ctx, "a", nil, bus.NoWait())
				go p.from.Publish(ctx, "a", nil, bus.Gossip())
			}
			time.Sleep(2 * time.Millisecond)
			c.Close()
			time.Sleep(10 * time.Millisecond)
			cancel()
		}
		p.to.Consume("never", bus.HandlerFunc(nothing))
		c := consume(t, p.to, "b", nothing)
		c.Pause()
		send(t, p.from, "b", "x")
		p.from.Publish(t.Context(), "b", nil)
		p.to.Close()
		time.Sleep(time.Minute)
		s := p.from.Stats()
		if s.Bounced == 0 || s.DeadLetters == 0 || s.Rerouted == 0 || s.Skipped == 0 || p.to.Stats().Dropped == 0 {
			t.Errorf("too little has happened: %+v", s)
		}
		atRest(t, p.from, p.to)
	})
}

// The top addresses are those of the highest rank, in order; all others are one sum.
func TestTopAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		for i := range 100 {
			consume(t, eb, fmt.Sprint("a", i), nothing)
			for range i {
				send(t, eb, fmt.Sprint("a", i), "x")
			}
		}
		synctest.Wait()
		calls := 0
		rank := func(a *bus.AddressStats) uint64 { calls++; return a.Sent / 2 }
		top, rest := eb.TopAddresses(3, rank)
		if calls != 100 || len(top) != 3 || top[0].Address != "a98" || top[1].Address != "a99" || top[2].Address != "a96" {
			t.Errorf("of %d: %+v", calls, top)
		}
		if want := uint64(99*100/2 - 98 - 99 - 96); rest.Address != "" || rest.Sent != want || rest.Consumers != 97 {
			t.Errorf("the rest is %+v, want %d sent", rest, want)
		}
		for n, want := range map[int]int{-1: 0, 0: 0, 100: 100, 1000: 100} {
			top, rest := eb.TopAddresses(n, rank)
			if len(top) != want || len(top)+rest.Consumers != 100 {
				t.Errorf("%d addresses and %d of the rest, of %d", len(top), rest.Consumers, n)
			}
		}
	})
}
