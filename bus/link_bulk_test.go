package bus_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// noise returns n bytes that tell where they belong.
func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Large bodies arrive whole, in order with small ones, and in both directions at
// once, though the memory for them is short on both sides.
func TestBulkBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		var wg sync.WaitGroup
		for i := range 2 {
			consume(t, c.Bus(i), []string{"x", "y"}[i], func(ctx context.Context, m *bus.Message) error {
				return m.Reply(ctx, m.Body)
			}, bus.WithConcurrency(8))
		}
		for g := range 16 {
			wg.Go(func() {
				for k := range 6 {
					body := noise(1+(g*7+k*13)%5*(3<<20), uint64(g))
					m, err := c.Bus(g%2).Request(t.Context(), []string{"y", "x"}[g%2], body)
					if err != nil || !bytes.Equal(m.Body, body) {
						t.Errorf("%d bytes: %v", len(body), err)
						return
					}
				}
			})
		}
		wg.Wait()
		atRest(t, c.Bus(0), c.Bus(1))
	})
}

func TestBulkOrder(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		last, n := -1, 300
		done := make(chan struct{})
		consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error {
			seq := int(m.Body[0]) | int(m.Body[1])<<8
			if seq != last+1 {
				t.Errorf("%d after %d", seq, last)
			}
			if last = seq; seq == n-1 {
				close(done)
			}
			return nil
		})
		for i := range n {
			body := make([]byte, 2+i%3*(40<<10))
			body[0], body[1] = byte(i), byte(i>>8)
			var err error
			if i%7 == 0 {
				err = p.from.Publish(t.Context(), "a", body)
			} else {
				err = p.from.Send(t.Context(), "a", body)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		receive(t, done)
	})
}

// A large message whose consumer closes, or whose node leaves, goes elsewhere,
// wherever it was; one whose caller gives up is gone.
func TestBulkRerouted(t *testing.T) {
	for name, end := range map[string]func(c *bustest.Cluster, cn *bus.Consumer){
		"close": func(_ *bustest.Cluster, cn *bus.Consumer) { cn.Close() },
		"leave": func(c *bustest.Cluster, _ *bus.Consumer) { c.Bus(1).Close() },
		"break": func(c *bustest.Cluster, _ *bus.Consumer) { c.Break(0, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := bustest.NewCluster(t, 3, quiet)
				cn := consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { return errors.New("half of it cannot have come") })
				c.Conn(0, 1).SetDelay(func() time.Duration { return 10 * time.Millisecond })
				c.Conn(0, 1).Stall()
				body := noise(8<<20, 1)
				done := make(chan error)
				go func() {
					m, err := c.Bus(0).Request(context.Background(), "a", body)
					if err == nil && !bytes.Equal(m.Body, body[:100]) {
						err = errors.New("another body came back")
					}
					done <- err
				}()
				synctest.Wait()
				consume(t, c.Bus(2), "a", func(ctx context.Context, m *bus.Message) error {
					if !bytes.Equal(m.Body, body) {
						t.Error("not the body that was sent")
					}
					return m.Reply(ctx, m.Body[:100])
				})
				go func() {
					time.Sleep(time.Second)
					c.Conn(0, 1).Resume()
				}()
				end(c, cn)
				if err := <-done; err != nil {
					t.Error(err)
				}
				atRest(t, c.Bus(0))
				if s := c.Bus(0).Stats(); s.Unknown > 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestBulkGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		var n atomic.Int32
		consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { n.Add(1); return nil })
		c.Conn(0, 1).Stall()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := c.Bus(0).Send(ctx, "a", make([]byte, 8<<20)); !errors.Is(err, bus.ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up: %v", err)
		}
		c.Conn(0, 1).Resume()
		for range 20 { // the budget is whole again
			if err := c.Bus(0).Send(t.Context(), "a", make([]byte, 8<<20)); err != nil {
				t.Fatal(err)
			}
		}
		atRest(t, c.Bus(0))
		if n.Load() != 20 {
			t.Errorf("%d handled", n.Load())
		}
	})
}

// A body over the receiver's limit is refused there, and the sender told.
func TestBulkOverThePeersLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bus.New(quiet, bus.WithBodyLimit(4<<20)), bus.New(quiet, bus.WithBodyLimit(1<<20))
		la, _ := a.Attach(bus.Peer{Name: "a", Boot: 1}, nil)
		lb, _ := b.Attach(bus.Peer{Name: "b", Boot: 2}, nil)
		ca, cb := bustest.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() { _ = la.ServeLink(context.Background(), bus.Peer{Name: "b", Boot: 2}, ca, nil) })
		wg.Go(func() { _ = lb.ServeLink(context.Background(), bus.Peer{Name: "a", Boot: 1}, cb, nil) })
		synctest.Wait()
		consume(t, b, "x", nothing)
		consume(t, a, "y", func(ctx context.Context, m *bus.Message) error {
			err := m.Reply(ctx, make([]byte, 2<<20))
			if !errors.Is(err, bus.ErrTooLarge) {
				t.Errorf("reply: %v", err)
			}
			return err
		})
		for _, size := range []int{100 << 10, 2 << 20} {
			_, err := a.Request(t.Context(), "x", make([]byte, size))
			if large := size > 1<<20; errors.Is(err, bus.ErrTooLarge) != large || err != nil != large {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
		var no *bus.ReplyError
		if _, err := b.Request(t.Context(), "y", nil); !errors.As(err, &no) {
			t.Errorf("a reply over the limit: %v", err)
		}
		time.Sleep(time.Second)
		atRest(t, a, b)
		a.Close()
		b.Close()
		wg.Wait()
	})
}

// A large message at a consumer that closes is sent back whole.
func TestBulkBounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		block := make(chan struct{})
		cn := consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil }, bus.WithWindow(64<<20))
		if err := c.Bus(0).Send(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		body := noise(5<<20, 3)
		result := make(chan error, 1)
		go func() {
			m, err := c.Bus(0).Request(context.Background(), "a", body)
			if err == nil && !bytes.Equal(m.Body, body) {
				err = errors.New("another body")
			}
			result <- err
		}()
		synctest.Wait()
		consume(t, c.Bus(2), "a", func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, m.Body) })
		cn.Close()
		if err := <-result; err != nil {
			t.Error(err)
		}
		close(block)
		atRest(t, c.Bus(0))
		if s := c.Bus(0).Stats(); s.Bounced != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Small requests pass a large message that is under way.
func TestSmallPassesBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		consume(t, c.Bus(1), "large", nothing)
		consume(t, c.Bus(1), "small", nothing)
		c.Conn(0, 1).SetDelay(func() time.Duration { return time.Millisecond })
		c.Conn(1, 0).SetDelay(func() time.Duration { return time.Millisecond })
		var done atomic.Bool
		go func() {
			_ = c.Bus(0).Send(context.Background(), "large", make([]byte, 16<<20))
			done.Store(true)
		}()
		synctest.Wait()
		n := 0
		for ; !done.Load(); n++ {
			if _, err := c.Bus(0).Request(t.Context(), "small", nil); err != nil {
				t.Fatal(err)
			}
		}
		if n < 50 { // each takes 2 ms, the large one 128 windows of 128 KiB
			t.Errorf("%d small requests passed", n)
		}
	})
}

// A large request that was sent back, and whose caller has given up before all
// of it was written to the next consumer, is gone: it is not routed again, and
// no other request gets its reply.
func TestBulkEndedIsNotRoutedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		block, gate := make(chan struct{}), make(chan struct{})
		first := consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil })
		consume(t, c.Bus(1), "b", func(ctx context.Context, m *bus.Message) error { <-gate; return m.Reply(ctx, []byte("b")) })
		if err := c.Bus(0).Send(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_, err := c.Bus(0).Request(ctx, "a", make([]byte, 1<<20))
			ended <- err
		}()
		synctest.Wait()
		second := consume(t, c.Bus(2), "a", func(context.Context, *bus.Message) error { t.Error("all of it cannot have come"); return nil })
		c.Conn(0, 2).Stall()
		first.Close() // it comes back, and goes to n2
		close(block)
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		result := make(chan string, 20)
		for range cap(result) {
			go func() {
				m, err := c.Bus(0).Request(context.Background(), "b", nil)
				if err != nil {
					result <- err.Error()
					return
				}
				result <- string(m.Body)
			}()
		}
		synctest.Wait()
		var handled atomic.Int32
		consume(t, c.Bus(1), "a", func(ctx context.Context, m *bus.Message) error { handled.Add(1); return m.Reply(ctx, []byte("a")) })
		second.Close()
		synctest.Wait()
		c.Conn(0, 2).Resume()
		close(gate)
		for range cap(result) {
			if got := <-result; got != "b" {
				t.Errorf("a request to b got %q", got)
			}
		}
		if handled.Load() > 0 {
			t.Error("what has expired was handled")
		}
		atRest(t, c.Bus(0))
	})
}

// A large message whose last chunk is being written when its route goes is
// under way as a small one would be: it comes back, and is handled once.
func TestBulkLastChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		for range 3 { // each takes one message, whatever its window
			consume(t, c.Bus(1), "sink", nothing)
		}
		var handled atomic.Int32
		h := func(context.Context, *bus.Message) error { handled.Add(1); return nil }
		closing := consume(t, c.Bus(1), "a", h)
		send := func(address string, size int) {
			if err := c.Bus(0).Send(context.Background(), address, make([]byte, size)); err != nil {
				t.Error(err)
			}
		}
		c.Conn(1, 0).Stall() // BULK_GO waits
		done := make(chan struct{})
		go func() { send("a", 66<<10); close(done) }() // chunks of 64 and 2 KiB
		synctest.Wait()
		c.Conn(0, 1).Stall()
		send("sink", 64<<10)
		send("sink", 64<<10)
		send("sink", 63<<10)
		c.Conn(1, 0).Resume() // the stream holds 256 KiB: the last chunk finds no room
		synctest.Wait()
		consume(t, c.Bus(2), "a", h)
		closing.Close()
		synctest.Wait()
		c.Conn(0, 1).Resume()
		<-done
		time.Sleep(time.Second)
		if handled.Load() != 1 {
			t.Errorf("handled %d times", handled.Load())
		}
		if n := len(c.Bus(0).Peers()); n != 2 {
			t.Errorf("%d peers: the link has ended", n)
		}
		atRest(t, c.Bus(0))
	})
}
