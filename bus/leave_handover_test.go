package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// What a leaving node has no consumer for waits at a node that stays, until its own
// deadline: a leave does not wait for a consumer that comes later, and loses nothing.
func TestHandover(t *testing.T) {
	for _, opt := range []bus.CallOption{nil, bus.ByKey("k"), bus.LocalFirst()} {
		t.Run(fmt.Sprint(opt != nil, opt), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dead atomic.Int32
				c := bustest.NewCluster(t, 3, quiet, deadLetters(func(bus.DeadLetter) { dead.Add(1) }))
				// The only consumer is on the node that leaves, as it will be on the one
				// that is started in its place.
				block := make(chan struct{})
				consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil })
				opts := []bus.CallOption{bus.WithHeader("h", "v")}
				if opt != nil {
					opts = append(opts, opt)
				}
				bodies := [][]byte{nil, []byte("b"), []byte("c"), bytes.Repeat([]byte("d"), 60<<10), bytes.Repeat([]byte("e"), 200<<10)}
				for from, which := range [][]int{{0, 1, 2, 4}, {0, 1, 2, 3}} { // a window is full after one that is large
					for _, i := range which {
						if err := c.Bus(from).Send(t.Context(), "a", bodies[i], opts...); err != nil {
							t.Fatal(err)
						}
					}
				}
				synctest.Wait()
				time.AfterFunc(100*time.Millisecond, func() { close(block) })
				begin := time.Now()
				if err := c.Bus(1).Close(); err != nil || time.Since(begin) > time.Second {
					t.Fatalf("left after %v: %v", time.Since(begin), err)
				}
				time.Sleep(25 * time.Second)
				var mu sync.Mutex
				var got []int
				i := c.Add()
				consume(t, c.Bus(i), "a", func(_ context.Context, m *bus.Message) error {
					mu.Lock()
					defer mu.Unlock()
					if m.Header().Get("h") != "v" || !m.Rerouted() {
						t.Errorf("header %v, rerouted %v", m.Header(), m.Rerouted())
					}
					got = append(got, slices.IndexFunc(bodies, func(b []byte) bool { return bytes.Equal(b, m.Body) }))
					return nil
				})
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				slices.Sort(got)
				if want := []int{0, 1, 1, 2, 2, 3, 4}; !slices.Equal(got, want) || dead.Load() > 0 {
					t.Errorf("these came: %v, not %v; %d dead letters", got, want, dead.Load())
				}
				atRest(t, c.Bus(0), c.Bus(2), c.Bus(i))
			})
		})
	}
}

// Whoever gets a message of a leaving node, and leaves itself, hands it on.
func TestHandoverGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 4, quiet)
		block := make(chan struct{})
		consume(t, c.Bus(0), "a", func(context.Context, *bus.Message) error { <-block; return nil })
		for range 11 {
			if err := c.Bus(0).Send(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		close(block)
		for i := range 3 {
			begin := time.Now()
			if err := c.Bus(i).Close(); err != nil || time.Since(begin) > time.Second {
				t.Errorf("n%d left after %v: %v", i, time.Since(begin), err)
			}
		}
		var handled atomic.Int32
		consume(t, c.Bus(3), "a", func(context.Context, *bus.Message) error { handled.Add(1); return nil })
		synctest.Wait()
		if n := handled.Load(); n != 10 {
			t.Errorf("%d of 10 were handled", n)
		}
	})
}

// What is lost while it is handed over is told where it was lost, and what comes to
// its deadline where it waits.
func TestHandoverIsTold(t *testing.T) {
	for _, cut := range []bool{false, true} {
		t.Run(fmt.Sprint("cut ", cut), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var dead []error
				c := bustest.NewCluster(t, 2, quiet, deadLetters(func(d bus.DeadLetter) {
					mu.Lock()
					defer mu.Unlock()
					dead = append(dead, d.Reason)
				}))
				c.Conn(1, 0).SetDelay(func() time.Duration { return 10 * time.Millisecond })
				block := make(chan struct{})
				consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil })
				for range 4 {
					if err := c.Bus(1).Send(t.Context(), "a", nil); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Second)
				if cut {
					time.AfterFunc(5*time.Millisecond, func() { c.Break(0, 1) })
				}
				time.AfterFunc(30*time.Millisecond, func() { close(block) })
				err := c.Bus(1).Close()
				time.Sleep(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if (err != nil) != cut || len(dead) != 3 {
					t.Fatalf("Close: %v; dead letters: %v", err, dead)
				}
				for _, reason := range dead {
					if want := map[bool]error{false: bus.ErrNoConsumer, true: bus.ErrLinkLost}[cut]; !errors.Is(reason, want) {
						t.Errorf("a dead letter's reason: %v", reason)
					}
				}
			})
		})
	}
}

// Close tells of a link that breaks with something under way on it.
func TestLeaveTellsOfBrokenLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		block := make(chan struct{}, 2)
		for i := range 2 {
			consume(t, c.Bus(i), fmt.Sprint("at ", i), func(context.Context, *bus.Message) error { <-block; return nil })
			if err := c.Bus(2).Send(t.Context(), fmt.Sprint("at ", i), nil); err != nil {
				t.Fatal(err)
			}
		}
		time.AfterFunc(time.Second, func() { c.Break(1, 2) })
		time.AfterFunc(2*time.Second, func() { block <- struct{}{}; block <- struct{}{} })
		err := c.Bus(2).Close()
		if err == nil || !strings.Contains(err.Error(), "n1-") || strings.Contains(err.Error(), "n0-") {
			t.Errorf("the link to n1 broke with a message under way: %v", err)
		}
	})
}

// A node waits for those who leave, and for nobody else, and not with more than it
// has memory for.
func TestHandoverIsBounded(t *testing.T) {
	handover := &wire.Frame{Kind: &wire.Frame_Handover{Handover: &wire.Msg{
		Kind: 1, TimeLeft: 30000, Hops: 1, Address: "a", Body: make([]byte, 60<<10),
	}}}
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t, bus.WithMemory(150<<10))
		p.say(routesFrame(1, true, nil), &wire.Frame{Kind: &wire.Frame_Leaving{Leaving: &wire.Leaving{}}})
		for range 4 {
			p.say(handover)
		}
		if s := p.eb.Stats(); s.Rerouted != 2 || s.DeadLetters != 2 {
			t.Errorf("%d are waited with, %d told: %+v", s.Rerouted, s.DeadLetters, s)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		p.say(routesFrame(1, true, nil))
		if _, err := p.Write(stream(t, handover)); err != nil {
			t.Fatal(err)
		}
		if err := <-p.ended; err == nil || !strings.Contains(err.Error(), "handover") {
			t.Errorf("a handover by a peer that stays: %v", err)
		}
	})
}

// When all nodes leave at once nobody can be left to wait: they are gone soon, and
// what is lost is told.
func TestAllLeaveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nodes = 10
		var dead atomic.Int32
		c := bustest.NewCluster(t, nodes, quiet, deadLetters(func(bus.DeadLetter) { dead.Add(1) }))
		var handled, sent atomic.Int32
		for i := range nodes {
			consume(t, c.Bus(i), "all", func(context.Context, *bus.Message) error {
				time.Sleep(5 * time.Millisecond)
				handled.Add(1)
				return nil
			})
			consume(t, c.Bus(i), fmt.Sprint("of ", i), func(context.Context, *bus.Message) error {
				time.Sleep(5 * time.Millisecond)
				handled.Add(1)
				return nil
			})
		}
		var wg sync.WaitGroup
		for i := range nodes {
			wg.Go(func() {
				for n := 0; ; n++ {
					err := c.Bus(i).Send(context.Background(), []string{"all", fmt.Sprint("of ", n%nodes)}[n%2], nil)
					switch {
					case err == nil:
						sent.Add(1)
					case errors.Is(err, bus.ErrClosed):
						return
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(time.Second)
		begin := time.Now()
		for i := range nodes {
			wg.Go(func() {
				if err := c.Bus(i).Close(); err != nil {
					t.Errorf("n%d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("gone after %v", took)
		}
		if sent.Load() != handled.Load()+dead.Load() {
			t.Errorf("%d sent, %d handled, %d dead letters", sent.Load(), handled.Load(), dead.Load())
		}
		t.Logf("%d sent, %d dead letters", sent.Load(), dead.Load())
	})
}

// A peer that leaves with very many consumers is left in steps; none of its routes is
// left after the last one, before its leave is acknowledged.
func TestLeaveWithManyConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		for i := range 20_000 {
			if _, err := c.Bus(1).Consume(fmt.Sprint("a", i%15_000), bus.HandlerFunc(nothing)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := len(c.Bus(0).Addresses()); n != 15_000 {
			t.Fatalf("%d addresses are known", n)
		}
		begin := time.Now()
		if err := c.Bus(1).Close(); err != nil || time.Since(begin) > time.Second {
			t.Errorf("left after %v: %v", time.Since(begin), err)
		}
		if left := c.Bus(0).Addresses(); len(left) > 0 {
			t.Errorf("%d addresses are known: %+v", len(left), left[0])
		}
	})
}

// The node that stays may get consumers, the one that is waited for too, while a large
// message is being handed over to it.
func TestRoutesBesideHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		for _, conn := range []*bustest.Conn{c.Conn(0, 1), c.Conn(1, 0)} {
			conn.SetRate(1 << 20)
		}
		block := make(chan struct{})
		consume(t, c.Bus(0), "a", func(context.Context, *bus.Message) error { <-block; return nil })
		for _, size := range []int{0, 1 << 20} { // the first is handled, the other waits
			if err := c.Bus(0).Send(t.Context(), "a", make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- c.Bus(0).Close() }() // ends with the leave
		time.Sleep(100 * time.Millisecond)
		close(block)
		time.Sleep(300 * time.Millisecond) // a part of it is there
		var handled atomic.Int32
		consume(t, c.Bus(1), "b", nothing)
		consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { handled.Add(1); return nil })
		if err := <-closed; err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Second)
		if n := handled.Load(); n != 1 {
			t.Errorf("what was sent back was handled %d times", n)
		}
	})
}
