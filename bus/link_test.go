package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// Promises 2 and 3: when a link ends, its requests fail and its routes go at
// that moment.
func TestLinkLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		block := make(chan struct{})
		consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil })
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
			consume(t, c.Bus(i), "a", func(context.Context, *bus.Message) error {
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
				consume(t, c.Bus(1), "a", func(ctx context.Context, _ *bus.Message) error { <-ctx.Done(); return nil })
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
		consume(t, c.Bus(1), "a", nothing)
		c.Conn(0, 1).Stall()
		c.Conn(1, 0).Stall()
		resume := time.AfterFunc(2*time.Second, func() { c.Conn(0, 1).Resume(); c.Conn(1, 0).Resume() })
		defer resume.Stop()
		if _, err := c.Bus(0).Request(t.Context(), "a", nil); err != nil {
			t.Errorf("a request that was held up for 2 s: %v", err)
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

// What waits for a handler on a link that ends is dropped: its sender has
// counted it as unknown, and a window comes anew with the next link.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		block := make(chan struct{})
		var handled atomic.Int32
		consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; handled.Add(1); return nil })
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
