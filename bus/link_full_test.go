package bus_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// newLine returns two buses that are linked over a line. The test closes them.
func newLine(t *testing.T, l line, opts ...bus.Option) *simNet {
	t.Helper()
	sn := newSimNet(t)
	sn.line, sn.opts = l, append([]bus.Option{bus.WithDrainTimeout(time.Second)}, opts...)
	sn.add()
	sn.add()
	return sn
}

// flood sends to an address until stop: always more than the link takes.
func flood(eb *bus.EventBus, address string, senders, size int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for body := make([]byte, size); ctx.Err() == nil; {
				if eb.Send(ctx, address, body) != nil {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// On a link that is always full of messages, consumers become known and are taken
// back as soon as the line allows.
func TestFullLinkTellsRoutes(t *testing.T) {
	for _, f := range []struct{ senders, size int }{{1, 1 << 10}, {20, 1 << 10}, {20, 32 << 10}} {
		t.Run(fmt.Sprintf("%d senders of %d bytes", f.senders, f.size), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sn := newLine(t, line{rate: 5 << 20, delay: 50 * time.Millisecond})
				defer sn.close()
				from, to := sn.bus(0), sn.bus(1)
				for range 16 {
					consume(t, to, "sink", nothing)
				}
				old := consume(t, from, "old", nothing)
				stop := flood(from, "sink", f.senders, f.size)
				defer stop()
				time.Sleep(10 * time.Second)

				begin := time.Now()
				consume(t, from, "fresh", nothing)
				known := time.Since(begin)
				begin = time.Now()
				consume(t, to, "there", nothing) // whose acknowledgement is behind messages
				acknowledged := time.Since(begin)
				if known > time.Second || acknowledged > time.Second {
					t.Errorf("known after %v, on the other side after %v", known, acknowledged)
				}
				consume(t, to, "old", nothing, bus.LocalOnly())
				old.Close()
				time.Sleep(time.Second)
				for range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					if _, err := to.Request(ctx, "old", nil); err != nil {
						t.Errorf("after the close of one of two consumers: %v", err)
					}
					cancel()
				}
			})
		})
	}
}

// A number that is used again is told anew behind all that was said of its former
// consumer, however much that is.
func TestNumberUsedAgainOnAFullLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sn := newLine(t, line{rate: mbit(8), buffer: 4 << 10, delay: 2 * time.Millisecond})
		defer sn.close()
		from, to := sn.bus(0), sn.bus(1)
		consume(t, from, "sink", nothing)
		stop := flood(to, "sink", 20, 8<<10) // what is sent back is behind this
		defer stop()
		var handled atomic.Int64
		rounds := 20
		if testing.Short() {
			rounds = 4
		}
		for round := range rounds {
			block := make(chan struct{})
			c := consume(t, to, "a", func(context.Context, *bus.Message) error { <-block; return nil })
			for range 8 {
				if err := from.Send(t.Context(), "a", make([]byte, 1<<10)); err != nil {
					t.Fatal(round, err)
				}
			}
			time.Sleep(time.Second)
			numbers := bus.NumbersOf(to)
			c.Close()
			close(block)
			for bus.NumbersOf(to) == numbers {
				time.Sleep(time.Millisecond)
			}
			count := func(context.Context, *bus.Message) error { handled.Add(1); return nil }
			next := consume(t, to, "a", count)
			time.Sleep(time.Second)
			next.Close()
			if got := len(from.Peers()); got != 1 {
				t.Fatalf("round %d: the link has ended", round)
			}
		}
		if s := from.Stats(); s.Bounced == 0 || bus.Numbers(to) > 10 {
			t.Errorf("nothing was tested: %d bounced, %d numbers", s.Bounced, bus.Numbers(to))
		}
		if n := handled.Load(); n != int64(rounds)*7 {
			t.Errorf("%d of %d messages that were sent back were handled", n, rounds*7)
		}
	})
}

// A link over which data comes all the time lives, though its reader has nothing to
// say and the line, or what a kernel holds before it, takes long to be passed.
func TestSlowLinkLives(t *testing.T) {
	for name, l := range map[string]line{
		"8 Mbit per s, 4 MiB":     {rate: mbit(8), buffer: 4 << 20},
		"1.2 Mbit per s, 16 KiB":  {rate: mbit(1.2), buffer: 16 << 10},
		"0.15 Mbit per s, 64 KiB": {rate: mbit(0.15), buffer: 64 << 10, delay: 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sn := newLine(t, l)
				defer sn.close()
				block := make(chan struct{})
				defer close(block)
				for range 500 {
					if _, err := sn.bus(1).Consume("x", bus.HandlerFunc(func(context.Context, *bus.Message) error { <-block; return nil }), bus.WithWindow(16<<10)); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Minute)
				stop := flood(sn.bus(0), "x", 5, 900) // each consumer's window: 8 MiB
				time.Sleep(10 * time.Minute)
				if s := sn.bus(0).Stats(); s.Unknown > 0 || len(sn.bus(0).Peers()) != 1 || s.Sent < 1000 {
					t.Errorf("%d peers; %+v", len(sn.bus(0).Peers()), s)
				}
				stop()
				for _, end := range [][2]int{{0, 1}, {1, 0}} {
					line{}.shape(sn.end(end[0], end[1]).Conn)
				}
			})
		})
	}
}
