package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// A request that was sent back ends with a Close that ran out of time.
func TestForcedClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet, bus.WithDrainTimeout(2*time.Second))
		block := make(chan int)
		h := func(ctx context.Context, m *bus.Message) error { <-block; return nil }
		first := consume(t, c.Bus(1), "a", h)
		c.Bus(0).Send(t.Context(), "a", nil)
		synctest.Wait()
		done := make(chan error, 1)
		go func() { _, err := c.Bus(0).Request(context.Background(), "a", nil); done <- err }()
		synctest.Wait()
		consume(t, c.Bus(2), "a", h, bus.WithWindow(1024))
		c.Bus(2).Send(t.Context(), "a", make([]byte, 2000)) // whichever
		c.Bus(0).Send(t.Context(), "a", make([]byte, 3000))
		c.Bus(0).Send(t.Context(), "a", make([]byte, 3000))
		synctest.Wait()
		first.Close()
		synctest.Wait()
		begin := time.Now()
		err := c.Bus(0).Close()
		t.Logf("closed after %v: %v", time.Since(begin), err)
		err = <-done
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("the request ended %v after Close began: %v", took, err)
		}
		close(block)
	})
}

// A request that was sent back and given up does not hold up a leave.
func TestEndedRequestDoesNotHoldLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		block := make(chan int)
		remote := consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil })
		c.Bus(0).Send(t.Context(), "a", nil)
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		go c.Bus(0).Request(ctx, "a", nil)
		synctest.Wait()
		remote.Close()
		synctest.Wait()
		close(block)
		cancel()
		time.Sleep(time.Second)
		begin := time.Now()
		err := c.Bus(0).Close()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("nothing is left to do, Close took %v: %v; dead letters: %d", took, err, c.Bus(0).Stats().DeadLetters)
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
					consume(t, c.Bus(i), "a", func(context.Context, *bus.Message) error {
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
			consume(t, c.Bus(i), "a", func(context.Context, *bus.Message) error {
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
		old := consume(t, c.Bus(0), "a", func(context.Context, *bus.Message) error { time.Sleep(time.Second); return nil })
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
		consume(t, c.Bus(i), "a", func(context.Context, *bus.Message) error { handled.Add(1); return nil })
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
			consume(t, c.Bus(1), "a", func(ctx context.Context, _ *bus.Message) error {
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
			eb := bus.New(quiet, deadLetters(func(d bus.DeadLetter) { dead = append(dead, d) }))
			block := make(chan struct{})
			consume(t, eb, "a", func(context.Context, *bus.Message) error { <-block; return nil })
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

// A bus that leaves before it has told all its consumers tells an end of them:
// its peer counts it as linked, and answers.
func TestLeaveBeforeAllIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newNode(t, 0), newNode(t, 1)
		defer closeAll([]*node{a, b})
		for i := range 5000 { // 1.3 MB: more than a link's buffer
			if _, err := a.Consume(fmt.Sprintf("%0255d", i), bus.HandlerFunc(nothing)); err != nil {
				t.Fatal(err)
			}
		}
		ca, cb := bustest.Pipe()
		a.serving.Go(func() { _ = a.attachment.ServeLink(context.Background(), b.peer, ca, nil) })
		synctest.Wait() // the pipe is full
		closed := make(chan error, 1)
		go func() { closed <- a.Close() }()
		synctest.Wait()
		up := false
		err := b.attachment.ServeLink(context.Background(), a.peer, cb, func() { up = true })
		if err != nil || !up {
			t.Errorf("the link ended with %v; it was up: %v", err, up)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// A leave ends as soon as the last large message is sent back.
func TestLeaveWithLargeBounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		block := make(chan struct{})
		consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil }, bus.WithWindow(64<<20))
		if err := c.Bus(0).Send(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Bus(0).Send(t.Context(), "a", make([]byte, 5<<20)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		consume(t, c.Bus(2), "a", nothing)
		c.Conn(0, 1).SetDelay(func() time.Duration { return time.Millisecond })
		c.Conn(1, 0).SetDelay(func() time.Duration { return time.Millisecond })
		close(block)
		begin := time.Now()
		if err := c.Bus(1).Close(); err != nil || time.Since(begin) > time.Second {
			t.Errorf("left after %v: %v", time.Since(begin), err)
		}
		atRest(t, c.Bus(0))
	})
}
