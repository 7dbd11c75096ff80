package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// consume registers a handler on bus i of a cluster, known everywhere.
func consume(t *testing.T, c *bustest.Cluster, i int, address string, h bus.HandlerFunc, opts ...bus.ConsumeOption) *bus.Consumer {
	t.Helper()
	return pair{to: c.Bus(i)}.consume(t, address, h, opts...)
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
	}
}

// Promises 2 and 3: when a link ends, its requests fail and its routes go at
// that moment.
func TestLinkLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		block := make(chan struct{})
		consume(t, c, 1, "a", func(context.Context, *bus.Message) error { <-block; return nil })
		failed := make(chan error)
		go func() {
			_, err := c.Bus(0).Request(context.Background(), "a", nil)
			failed <- err
		}()
		synctest.Wait()
		begin := time.Now()
		c.Break(0, 1)
		if err := <-failed; !errors.Is(err, bus.ErrLinkLost) {
			t.Errorf("request over a link that broke: %v", err)
		}
		if took := time.Since(begin); took > 100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if err := c.Bus(0).Send(t.Context(), "a", nil); !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("a ghost took a message: %v", err)
		}
		if s := c.Bus(0).Stats(); s.Unknown != 1 {
			t.Errorf("%d unknown", s.Unknown)
		}
		close(block)
		synctest.Wait()
		c.Link(0, 1)
		if _, err := c.Bus(0).Request(t.Context(), "a", nil); err != nil {
			t.Errorf("over the next link: %v", err)
		}
		atRest(t, c.Bus(0))
	})
}

func TestIdempotent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		at := make(chan int, 2)
		block := make(chan struct{})
		for i := 1; i < 3; i++ {
			consume(t, c, i, "a", func(context.Context, *bus.Message) error {
				at <- i
				if len(at) == 1 {
					<-block
				}
				return nil
			})
		}
		done := make(chan error)
		go func() {
			_, err := c.Bus(0).Request(context.Background(), "a", nil, bus.Idempotent())
			done <- err
		}()
		synctest.Wait()
		first := <-at
		at <- first
		c.Break(0, first)
		if err := <-done; err != nil {
			t.Errorf("idempotent request: %v", err)
		}
		<-at
		if second := <-at; second == first {
			t.Errorf("both times at n%d", first)
		}
		close(block)
	})
}

// A peer that falls silent is noticed within five seconds, whether its frames
// get lost or this node's do.
func TestSilentDeath(t *testing.T) {
	for _, side := range []int{0, 1} {
		t.Run(fmt.Sprint("cut at n", side), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := bustest.NewCluster(t, 2, quiet)
				consume(t, c, 1, "a", func(ctx context.Context, _ *bus.Message) error { <-ctx.Done(); return nil })
				time.Sleep(time.Hour) // an idle link lives
				if len(c.Bus(0).Peers()) != 1 {
					t.Fatal("an idle link has ended")
				}
				c.Conn(side, 1-side).Cut()
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := c.Bus(0).Request(ctx, "a", nil)
				if took := time.Since(begin); !errors.Is(err, bus.ErrLinkLost) || took > 5*time.Second {
					t.Errorf("after %v: %v", took, err)
				}
			})
		})
	}
}

// A stalled peer that goes on in time keeps its link.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		consume(t, c, 1, "a", nothing)
		c.Conn(0, 1).Stall()
		c.Conn(1, 0).Stall()
		resume := time.AfterFunc(2*time.Second, func() { c.Conn(0, 1).Resume(); c.Conn(1, 0).Resume() })
		defer resume.Stop()
		if _, err := c.Bus(0).Request(t.Context(), "a", nil); err != nil {
			t.Errorf("a request that was held up for 2 s: %v", err)
		}
	})
}

// Promise 4: a node that leaves loses nothing, whether it is idle, busy, or the
// one that sends.
func TestLeave(t *testing.T) {
	for _, leaver := range []int{0, 1} {
		t.Run(fmt.Sprint("n", leaver), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := bustest.NewCluster(t, 3, quiet)
				var handled atomic.Int32
				for i := range 3 {
					consume(t, c, i, "a", func(context.Context, *bus.Message) error {
						time.Sleep(3 * time.Millisecond)
						handled.Add(1)
						return nil
					}, bus.WithWindow(4<<10))
				}
				var sent, lateErrs atomic.Int32
				var wg sync.WaitGroup
				for g := range 4 {
					wg.Go(func() {
						for i := range 300 {
							var err error
							from := c.Bus(g % 2 * 2) // n0 and n2
							if i%2 == 0 {
								err = from.Send(context.Background(), "a", i)
							} else {
								_, err = from.Request(context.Background(), "a", i)
							}
							switch {
							case err == nil:
								sent.Add(1)
							case errors.Is(err, bus.ErrClosed):
								lateErrs.Add(1)
								return
							default:
								t.Error(err)
								return
							}
						}
					})
				}
				time.Sleep(50 * time.Millisecond)
				begin := time.Now()
				if err := c.Bus(leaver).Close(); err != nil {
					t.Error(err)
				}
				if took := time.Since(begin); took > time.Second && leaver != 0 {
					t.Errorf("leaving took %v", took)
				}
				wg.Wait()
				time.Sleep(5 * time.Second)
				if handled.Load() != sent.Load() {
					t.Errorf("%d sent, %d handled", sent.Load(), handled.Load())
				}
				if (leaver == 0) != (lateErrs.Load() > 0) {
					t.Errorf("%d calls after the end", lateErrs.Load())
				}
				for i := range 3 {
					if s := c.Bus(i).Stats(); s.Unknown > 0 || s.DeadLetters > 0 {
						t.Errorf("n%d: %+v", i, s)
					}
				}
				atRest(t, c.Bus(0), c.Bus(1), c.Bus(2))
			})
		})
	}
}

// Two that leave at once do not wait for each other, and lose nothing.
func TestTwoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		var handled atomic.Int32
		for i := range 3 {
			consume(t, c, i, "a", func(context.Context, *bus.Message) error {
				time.Sleep(5 * time.Millisecond)
				handled.Add(1)
				return nil
			})
		}
		const n = 300
		for i := range n {
			if err := c.Bus(i%3).Send(t.Context(), "a", i); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		var wg sync.WaitGroup
		for _, i := range []int{0, 1} {
			wg.Go(func() {
				if err := c.Bus(i).Close(); err != nil {
					t.Errorf("n%d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("leaving took %v", took)
		}
		time.Sleep(10 * time.Second)
		if handled.Load() != n {
			t.Errorf("%d of %d handled", handled.Load(), n)
		}
		for i := range 3 {
			if s := c.Bus(i).Stats(); s.Unknown > 0 || s.DeadLetters > 0 {
				t.Errorf("n%d: %+v", i, s)
			}
		}
	})
}

// What a leaver gets back waits for a node that is just booting.
func TestLeaveToNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		old := consume(t, c, 0, "a", func(context.Context, *bus.Message) error { time.Sleep(time.Second); return nil })
		_ = old
		for i := range 10 {
			if err := c.Bus(1).Send(t.Context(), "a", i); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Millisecond)
		var wg sync.WaitGroup
		for _, i := range []int{0, 1} {
			wg.Go(func() {
				if err := c.Bus(i).Close(); err != nil {
					t.Errorf("n%d: %v", i, err)
				}
			})
		}
		time.Sleep(2 * time.Second)
		var handled atomic.Int32
		i := c.Add()
		consume(t, c, i, "a", func(context.Context, *bus.Message) error { handled.Add(1); return nil })
		wg.Wait()
		synctest.Wait()
		if n := handled.Load(); n != 9 {
			t.Errorf("the newcomer handled %d of 9", n)
		}
	})
}

// A leave is bounded when a handler does not return, or a peer does not read.
func TestLeaveIsBounded(t *testing.T) {
	t.Run("handler", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(3*time.Second))
			ended := make(chan error, 1)
			consume(t, c, 1, "a", func(ctx context.Context, _ *bus.Message) error {
				<-ctx.Done()
				ended <- ctx.Err()
				return nil
			})
			if err := c.Bus(0).Send(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			begin := time.Now()
			err := c.Bus(1).Close()
			if took := time.Since(begin); err == nil || took > 6*time.Second {
				t.Errorf("after %v: %v", took, err)
			}
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the handler's context: %v", err)
			}
		})
	})
	t.Run("peer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(20*time.Second))
			c.Conn(1, 0).Cut()
			c.Conn(0, 1).Cut()
			begin := time.Now()
			err := c.Bus(1).Close()
			if took := time.Since(begin); err != nil || took > 6*time.Second {
				t.Errorf("after %v: %v", took, err)
			}
		})
	})
	t.Run("alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var dead []bus.DeadLetter
			eb := bus.New(quiet, bus.WithDeadLetter(func(d bus.DeadLetter) { dead = append(dead, d) }))
			block := make(chan struct{})
			pair{to: eb}.consume(t, "a", bus.HandlerFunc(func(context.Context, *bus.Message) error { <-block; return nil }))
			for i := range 3 {
				if err := eb.Send(t.Context(), "a", i); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			time.AfterFunc(time.Second, func() { close(block) })
			begin := time.Now()
			if err := eb.Close(); err != nil {
				t.Error(err)
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
			if len(dead) != 2 || string(dead[0].Body) != "1" || dead[0].Address != "a" || !errors.Is(dead[0].Reason, bus.ErrNoConsumer) {
				t.Errorf("dead letters: %v", dead)
			}
			if err := eb.Send(t.Context(), "a", nil); !errors.Is(err, bus.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
			if _, err := eb.Consume("a", bus.HandlerFunc(nothing)); !errors.Is(err, bus.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		})
	})
}

// Numbers of closed consumers are used again, for others, and nothing gets
// mixed up.
func TestNumberReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		var wrong atomic.Int32
		for i := range 200 {
			address := fmt.Sprint("a", i)
			cn := consume(t, c, 1, address, func(_ context.Context, m *bus.Message) error {
				time.Sleep(time.Duration(i%7) * time.Millisecond)
				if string(m.Body) != address {
					wrong.Add(1)
				}
				return nil
			})
			for range 3 {
				if err := c.Bus(0).Send(t.Context(), address, []byte(address)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * time.Millisecond)
			cn.Close()
		}
		if wrong.Load() > 0 {
			t.Errorf("%d messages at the wrong consumer", wrong.Load())
		}
		if n := len(c.Bus(0).Peers()); n != 1 {
			t.Error("the link has ended")
		}
	})
}

func TestPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		var names []string
		for _, p := range c.Bus(1).Peers() {
			names = append(names, p.Name)
		}
		if !slices.Equal(names, []string{"n0", "n2"}) {
			t.Errorf("peers %v", names)
		}
		c.Bus(0).Close()
		synctest.Wait()
		if n := len(c.Bus(1).Peers()); n != 1 {
			t.Errorf("%d peers after a leave", n)
		}
		if _, err := c.Bus(1).Attach(bus.Peer{}, nil); err == nil {
			t.Error("attached twice")
		}
	})
}

func TestExpect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bus.New(quiet), bus.New(quiet)
		defer a.Close()
		defer b.Close()
		la, _ := a.Attach(bus.Peer{Name: "a", Boot: 1}, nil)
		lb, _ := b.Attach(bus.Peer{Name: "b", Boot: 2}, nil)
		pair{to: b}.consume(t, "x", bus.HandlerFunc(nothing))
		forget := la.Expect(bus.Peer{Name: "b", Boot: 2})
		ca, cb := bustest.Pipe()
		var wg sync.WaitGroup
		time.AfterFunc(time.Second, func() {
			wg.Go(func() { la.Serve(context.Background(), bus.Peer{Name: "b", Boot: 2}, ca, nil) })
			wg.Go(func() { lb.Serve(context.Background(), bus.Peer{Name: "a", Boot: 1}, cb, nil) })
		})
		if _, err := a.Request(t.Context(), "x", nil); err != nil {
			t.Errorf("while the first link comes up: %v", err)
		}
		begin := time.Now()
		if err := a.Send(t.Context(), "y", nil); !errors.Is(err, bus.ErrNoConsumer) || time.Since(begin) > 0 {
			t.Errorf("once it is up, after %v: %v", time.Since(begin), err)
		}
		ca.Reset()
		synctest.Wait()
		err := a.Send(t.Context(), "x", nil)
		if want := `bus: no consumer of "x" (alive, but not linked: b)`; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		forget()
		wg.Wait()
	})
}

// What waits for a handler on a link that ends is dropped: its sender has
// counted it as unknown, and a window comes anew with the next link.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		block := make(chan struct{})
		var handled atomic.Int32
		consume(t, c, 1, "a", func(context.Context, *bus.Message) error { <-block; handled.Add(1); return nil })
		for i := range 10 {
			if err := c.Bus(0).Send(t.Context(), "a", i); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		c.Break(0, 1)
		close(block)
		synctest.Wait()
		if h, s := handled.Load(), c.Bus(1).Stats(); h != 1 || s.CutOff != 9 || c.Bus(0).Stats().Unknown != 10 {
			t.Errorf("%d handled, %d cut off, %d unknown", h, s.CutOff, c.Bus(0).Stats().Unknown)
		}
	})
}

// A removal that has to wait for room on its link is written before what is
// sent back: the sender would choose the same consumer again.
func TestRemovalBeforeBounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		consume(t, c, 0, "sink", nothing, bus.WithWindow(64<<20))
		block := make(chan struct{})
		closing := consume(t, c, 1, "a", func(context.Context, *bus.Message) error { <-block; return nil })
		for i := range 10 {
			if err := c.Bus(0).Send(t.Context(), "a", i); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		c.Conn(1, 0).Stall()
		for range 40 { // 2.5 MB: more than the stream and the buffer hold
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_ = c.Bus(1).Send(ctx, "sink", make([]byte, 64<<10))
			cancel()
		}
		closing.Close()
		synctest.Wait()
		c.Conn(1, 0).Resume()
		close(block)
		synctest.Wait()
		time.Sleep(time.Second)
		if s := c.Bus(0).Stats(); s.Bounced != 9 || s.DeadLetters > 0 {
			t.Errorf("9 messages came back %d times, %d died", s.Bounced, s.DeadLetters)
		}
		var got atomic.Int32
		consume(t, c, 1, "a", func(context.Context, *bus.Message) error { got.Add(1); return nil })
		synctest.Wait()
		if got.Load() != 9 {
			t.Errorf("the next consumer got %d", got.Load())
		}
	})
}
