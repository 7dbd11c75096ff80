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

// Addresses take turns at a link that is full, however many senders one has: who
// sends one message at a time to another waits for a turn of each.
func TestAddressesTakeTurnsAtAFullLink(t *testing.T) {
	for _, l := range []line{
		{rate: mbit(8), delay: 20 * time.Millisecond},
		{rate: mbit(100), delay: time.Millisecond},
	} {
		for _, large := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes a second, large: %v", l.rate, large), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					sn := newLine(t, l)
					defer sn.close()
					from, to := sn.bus(0), sn.bus(1)
					for _, address := range []string{"many", "some", "few"} {
						for range 8 {
							consume(t, to, address, nothing)
						}
					}
					consume(t, to, "lone", nothing)
					for address, senders := range map[string]int{"many": 256, "some": 16, "few": 2} {
						defer flood(from, address, senders, 4<<10)()
					}
					if large {
						defer flood(from, "few", 2, 256<<10)()
					}
					time.Sleep(5 * time.Second)
					var longest time.Duration
					for range 20 {
						begin := time.Now()
						if err := from.Send(t.Context(), "lone", nil); err != nil {
							t.Fatal(err)
						}
						longest = max(longest, time.Since(begin))
						time.Sleep(10 * time.Millisecond)
					}
					t.Logf("waited for %v at most", longest)
					if longest > 600*time.Millisecond {
						t.Error("a message waited for longer than a turn of each other address takes")
					}
				})
			})
		}
	}
}

// Large bodies of several addresses take turns, too, whichever address has more senders
// and consumers: there is room for two at a time.
func TestLargeBodiesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sn := newLine(t, line{rate: mbit(100), delay: time.Millisecond})
		defer sn.close()
		from, to := sn.bus(0), sn.bus(1)
		for range 4 {
			consume(t, to, "many", nothing)
		}
		consume(t, to, "other", nothing)
		consume(t, to, "lone", nothing)
		defer flood(from, "many", 8, 256<<10)()
		defer flood(from, "other", 3, 256<<10)()
		time.Sleep(5 * time.Second)
		for range 20 {
			begin := time.Now()
			if err := from.Send(t.Context(), "lone", make([]byte, 256<<10)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took > 500*time.Millisecond { // a body takes 21 ms
				t.Fatalf("a body waited for its turn for %v", took)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// Publishes that wait for nobody leave room for sends, and sends for them.
func TestPublishesAndSendsShareAFullLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sn := newLine(t, line{rate: mbit(8), delay: 20 * time.Millisecond})
		defer sn.close()
		from, to := sn.bus(0), sn.bus(1)
		heard := new(atomic.Int64)
		for i := range 32 { // whose windows are more than the link holds
			consume(t, to, fmt.Sprint("ticks", i), func(context.Context, *bus.Message) error { heard.Add(1); return nil })
		}
		consume(t, to, "lone", nothing)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				for body := make([]byte, 4<<10); ctx.Err() == nil; time.Sleep(time.Millisecond) {
					_ = from.Publish(ctx, fmt.Sprint("ticks", i), body, bus.NoWait())
				}
			})
		}
		defer wg.Wait()
		defer stop()
		time.Sleep(5 * time.Second)
		before := heard.Load()
		var longest time.Duration
		for range 20 {
			begin := time.Now()
			if err := from.Send(t.Context(), "lone", nil); err != nil {
				t.Fatal(err)
			}
			longest = max(longest, time.Since(begin))
			time.Sleep(50 * time.Millisecond)
		}
		t.Logf("a send waited for %v at most, %d publishes came meanwhile", longest, heard.Load()-before)
		if longest > time.Second {
			t.Error("publishes went past a send")
		}
		if heard.Load() == before {
			t.Error("no publish came")
		}
	})
}
