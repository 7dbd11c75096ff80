package bus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// burst sends from several goroutines at once, so that windows grow.
func burst(t *testing.T, from *bus.EventBus, address string) {
	t.Helper()
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			for range 20 {
				if err := from.Send(context.Background(), address, make([]byte, 8<<10)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// holdWindow makes the window of a growing consumer of this node's so large, and
// keeps it so by a message that is handled all the time.
func holdWindow(t *testing.T, eb *bus.EventBus, address string, size int64) {
	t.Helper()
	if err := eb.Send(context.Background(), address, nil); err != nil {
		t.Fatal(err)
	}
	for bus.PoolMissing(eb) < size {
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() { _ = eb.Send(context.Background(), address, make([]byte, growSize)) })
		}
		wg.Wait()
	}
}

// A REST counts for the window that its sender knew: if another one is on its way to
// the sender that one holds, and else the smaller one.
func TestRestCountsForTheWindowThatItsSenderKnew(t *testing.T) {
	for name, crossed := range map[string]uint64{"the last": 0, "one before": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := playPeer(t, bus.WithDrainTimeout(0))
				block := make(chan struct{})
				defer close(block)
				h := growing(func(context.Context, *bus.Message) error { <-block; return nil })
				if _, err := p.eb.Consume("in", h, bus.WithWindow(1<<20)); err != nil {
					t.Fatal(err)
				}
				p.say(routesFrame(1, true, nil))
				p.grow()
				resized := uint64(0)
				for _, f := range p.heard() {
					if f.GetCredit().GetWindow() > 0 {
						resized++
					}
				}
				p.say(&wire.Frame{Kind: &wire.Frame_Rest{Rest: &wire.Rest{Route: 1, Resized: resized - crossed, Window: 16 << 10}}})
				m := msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 60_000, Body: make([]byte, 10<<10)})
				p.say(m, m, m)
				select {
				case err := <-p.ended:
					if crossed > 0 || err == nil || !strings.Contains(err.Error(), "window of 16384 bytes") {
						t.Errorf("the link has ended: %v", err)
					}
				default:
					if crossed == 0 {
						t.Error("30 KiB were taken in a window of 16 KiB")
					}
				}
			})
		})
	}
}

// A window that has grown for a burst goes back to the pool when the burst is over,
// also where a message comes now and then; and what is sent later finds it small.
func TestWindowComesHome(t *testing.T) {
	for name, trickle := range map[string]bool{"idle": false, "trickle": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(time.Second))
				c.Conn(0, 1).SetDelay(func() time.Duration { return time.Millisecond })
				consume(t, c.Bus(1), "a", nothing)
				burst(t, c.Bus(0), "a")
				if bus.PoolMissing(c.Bus(1)) == 0 {
					t.Error("the window has not grown")
				}
				for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
					if trickle {
						if err := c.Bus(0).Send(t.Context(), "a", nil); err != nil {
							t.Error(err)
						}
					}
				}
				if n := bus.PoolMissing(c.Bus(1)); n != 0 {
					t.Errorf("the pool misses %d bytes", n)
				}
				block := make(chan struct{})
				defer close(block)
				consume(t, c.Bus(1), "b", func(context.Context, *bus.Message) error { <-block; return nil })
				if n := fill(t, c.Bus(0), "b"); n != 16<<10 {
					t.Errorf("the first window of another takes %d bytes", n)
				}
			})
		})
	}
}

// What a sender gives back may cross what the consumer's node grants it: neither
// sends too much, and in the end the pool is whole.
func TestWindowGivenBackWhileItGrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		c := bustest.NewCluster(t, 2, quiet, bus.WithMemory(1<<20))
		for _, conn := range []*bustest.Conn{c.Conn(0, 1), c.Conn(1, 0)} {
			conn.SetDelay(func() time.Duration { return 300 * time.Millisecond })
		}
		const n = 8
		bursts := 30
		if testing.Short() {
			bursts = 8
		}
		for i := range n {
			consume(t, c.Bus(1), fmt.Sprint("a", i), nothing)
		}
		var wg sync.WaitGroup
		for i := range n {
			rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
			wg.Go(func() {
				for range bursts { // the sender looks each 10 s
					burst(t, c.Bus(0), fmt.Sprint("a", i))
					time.Sleep(9*time.Second + time.Duration(rng.IntN(2000))*time.Millisecond)
				}
			})
		}
		wg.Wait()
		if len(c.Bus(0).Peers()) != 1 {
			t.Error("the link has ended")
		}
		time.Sleep(time.Minute)
		if n := bus.PoolMissing(c.Bus(1)); n != 0 {
			t.Errorf("the pool misses %d bytes", n)
		}
	})
}

// Where it is the link that holds messages up windows do not grow.
func TestWindowsDoNotGrowForWantOfLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		const n = 100
		for i := range n {
			consume(t, c.Bus(1), fmt.Sprint("a", i), nothing)
		}
		for _, conn := range []*bustest.Conn{c.Conn(0, 1), c.Conn(1, 0)} {
			conn.SetRate(1e6)
		}
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				for range 20 {
					if err := c.Bus(0).Send(context.Background(), fmt.Sprint("a", i), make([]byte, 8<<10)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := bus.PoolMissing(c.Bus(1)); n > 100*16<<10 { // twice the first window of each, while the link was not full yet
			t.Errorf("windows have taken %d bytes", n)
		}
	})
}

// A slow consumer keeps its first window, whoever sends and however much: what it
// could not handle in time goes to those that can, or waits with its sender.
func TestSlowConsumerKeepsItsFirstWindow(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		slow := make(chan struct{}, 1<<20)
		for i := range 5 {
			consume(t, p.to, "a", func(context.Context, *bus.Message) error {
				if i == 2 {
					slow <- struct{}{}
					time.Sleep(time.Second)
				}
				time.Sleep(100 * time.Microsecond)
				return nil
			})
		}
		for range 30_000 {
			if err := p.from.Send(t.Context(), "a", make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		s := p.to.Stats()
		if most := uint64(2 * 16 << 10 / 228); s.Expired+uint64(len(slow)) > most {
			t.Errorf("%d messages expired at the slow one, %d it has handled", s.Expired, len(slow))
		}
	})
}
