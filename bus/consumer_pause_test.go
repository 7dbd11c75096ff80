package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// bodies are those of messages that were handled, in order.
type bodies struct {
	mu  sync.Mutex
	got []string
}

func (b *bodies) Handle(_ context.Context, m *bus.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, string(m.Body))
	return nil
}

func (b *bodies) list() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

func (b *bodies) len() int { return len(b.list()) }

func (b *bodies) want(t *testing.T, want ...string) {
	t.Helper()
	if got := b.list(); !slices.Equal(got, want) {
		t.Errorf("handled %q; want %q", got, want)
	}
}

func numbers(from, to int) (s []string) {
	for i := from; i < to; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return s
}

func send(t *testing.T, eb *bus.EventBus, address string, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		if err := eb.Send(t.Context(), address, []byte(b)); err != nil {
			t.Fatal(err)
		}
	}
}

// A paused consumer handles nothing; what came meanwhile it handles in order
// when it is resumed. Doing either twice is doing it once.
func TestPauseAndResume(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var got bodies
		c := consume(t, p.to, "a", got.Handle)
		for from := 0; from < 150; from += 50 {
			c.Pause()
			c.Pause()
			send(t, p.from, "a", numbers(from, from+50)...)
			time.Sleep(time.Second)
			got.want(t, numbers(0, from)...)
			c.Resume()
			c.Resume()
			synctest.Wait()
			got.want(t, numbers(0, from+50)...)
		}
		atRest(t, p.from)
	})
}

// A consumer that is paused in its own handler handles nothing after it.
func TestPauseInHandler(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var got bodies
		var c *bus.Consumer
		ready := make(chan struct{})
		c = consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			<-ready
			if got.Handle(ctx, m); got.len()%4 == 0 {
				c.Pause()
			}
			return nil
		})
		close(ready)
		for _, n := range numbers(0, 12) { // requests leave replies to be written at a pause
			go p.from.Request(t.Context(), "a", []byte(n))
			synctest.Wait()
		}
		for n := 4; n <= 12; n += 4 { // so many are fetched at a time
			time.Sleep(time.Second)
			got.want(t, numbers(0, n)...)
			c.Resume()
		}
		send(t, p.from, "a", "12")
		time.Sleep(time.Second)
		got.want(t, numbers(0, 13)...)
	})
}

// A pause ends with the handlers that run; Resume brings all of them back.
func TestPauseConcurrency(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		began, block := make(chan struct{}, 100), make(chan struct{})
		c := consume(t, p.to, "a", func(context.Context, *bus.Message) error {
			began <- struct{}{}
			<-block
			return nil
		}, bus.WithConcurrency(3))
		send(t, p.from, "a", numbers(0, 12)...)
		synctest.Wait()
		for running := 3; running <= 12; running += 3 {
			c.Pause()
			for range 3 {
				block <- struct{}{}
			}
			time.Sleep(time.Second)
			if len(began) != running {
				t.Fatalf("%d began while paused; want %d", len(began), running)
			}
			c.Resume()
			synctest.Wait()
		}
		if len(began) != 12 {
			t.Errorf("%d of 12 began", len(began))
		}
		atRest(t, p.from)
	})
}

// A paused consumer of a scope does not keep the turn from the others.
func TestPauseInScope(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		s := p.to.Scope()
		var got bodies
		consumers := map[string]*bus.Consumer{}
		for _, a := range []string{"a", "b"} {
			c, err := s.Consume(a, &got)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Known(t.Context()); err != nil {
				t.Fatal(err)
			}
			consumers[a] = c
		}
		hold, held := make(chan struct{}), make(chan error)
		go func() { held <- s.Do(t.Context(), func(context.Context) error { <-hold; return nil }) }()
		synctest.Wait()
		send(t, p.from, "a", numbers(0, 40)...) // waits for the turn
		synctest.Wait()
		consumers["a"].Pause()
		send(t, p.from, "b", "b")
		synctest.Wait()
		close(hold)
		if err := <-held; err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		got.want(t, "b")
		if err := s.Do(t.Context(), func(context.Context) error { consumers["a"].Resume(); return nil }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		got.want(t, append([]string{"b"}, numbers(0, 40)...)...)
	})
}

// A consumer that is paused when its turn is over gives the others theirs.
func TestPauseAtTheEndOfATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		s := eb.Scope()
		var got bodies
		var c *bus.Consumer
		c, _ = s.Consume("a", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			if got.Handle(ctx, m); got.len() == 32 { // as many as a turn has
				c.Pause()
			}
			return nil
		}))
		hold := make(chan struct{})
		go s.Do(t.Context(), func(context.Context) error { <-hold; return nil })
		synctest.Wait()
		send(t, eb, "a", numbers(0, 40)...)
		close(hold)
		synctest.Wait()
		got.want(t, numbers(0, 32)...)
		c.Resume()
		synctest.Wait()
		got.want(t, numbers(0, 40)...)
	})
}

// Closing a paused consumer sends back what waits, in order, to another one.
func TestClosePaused(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var first, second bodies
		c := consume(t, p.to, "a", first.Handle)
		c.Pause()
		send(t, p.from, "a", numbers(0, 30)...)
		synctest.Wait()
		other := consume(t, p.to, "a", second.Handle)
		other.Pause()
		c.Close()
		receive(t, c.Done())
		c.Resume() // does nothing any more
		c.Pause()
		other.Resume()
		time.Sleep(time.Second)
		first.want(t)
		second.want(t, numbers(0, 30)...)
		atRest(t, p.from)
	})
}

// A bus that closes does not wait for what waits at a paused consumer: it goes
// to another node, or is dead.
func TestLeavePaused(t *testing.T) {
	t.Run("clustered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := bustest.NewCluster(t, 3, quiet)
			var first, second bodies
			consume(t, c.Bus(1), "a", first.Handle).Pause()
			send(t, c.Bus(0), "a", numbers(0, 10)...)
			send(t, c.Bus(1), "a", "own")
			answer := make(chan error)
			go func() { _, err := c.Bus(0).Request(t.Context(), "a", []byte("asked")); answer <- err }()
			synctest.Wait()
			consume(t, c.Bus(2), "a", second.Handle)
			begin := time.Now()
			if err := c.Bus(1).Close(); err != nil || time.Since(begin) > time.Second {
				t.Errorf("after %v: %v", time.Since(begin), err)
			}
			if err := receive(t, answer); err != nil {
				t.Error(err)
			}
			if first.len() > 0 || second.len() != 12 {
				t.Errorf("%q, then %q", first.list(), second.list())
			}
			atRest(t, c.Bus(0))
		})
	})
	t.Run("alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			eb := bus.New(quiet)
			c := consume(t, eb, "a", nothing)
			c.Pause()
			send(t, eb, "a", "x")
			answer := make(chan error, 1)
			go func() { _, err := eb.Request(t.Context(), "a", nil); answer <- err }()
			synctest.Wait()
			begin := time.Now()
			if err := eb.Close(); err != nil || time.Since(begin) > 0 {
				t.Errorf("after %v: %v", time.Since(begin), err)
			}
			if err := receive(t, answer); !errors.Is(err, bus.ErrNoConsumer) {
				t.Error(err)
			}
		})
	})
}

// What came over a link that has ended does not wait at a paused consumer.
func TestPausedLinkBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		var got bodies
		cn := consume(t, c.Bus(1), "a", got.Handle)
		cn.Pause()
		send(t, c.Bus(0), "a", "x", "y")
		synctest.Wait()
		c.Break(0, 1)
		cn.Resume()
		c.Link(0, 1)
		send(t, c.Bus(0), "a", "z")
		synctest.Wait()
		got.want(t, "z")
		if s := c.Bus(1).Stats(); s.CutOff != 2 || c.Bus(0).Stats().Unknown != 2 {
			t.Errorf("%d cut off, %d unknown", s.CutOff, c.Bus(0).Stats().Unknown)
		}
	})
}

// A handler that panics, or ends its goroutine, while what has waited is handled
// does not stop the rest.
func TestPanicAfterResume(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var got bodies
		c := consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			got.Handle(ctx, m)
			panic("no")
		})
		c.Pause()
		send(t, p.from, "a", numbers(0, 5)...)
		synctest.Wait()
		c.Resume()
		synctest.Wait()
		got.want(t, numbers(0, 5)...)
		atRest(t, p.from)
	})
}

// Pausing and resuming at any moment loses nothing and changes no order.
func TestPauseRace(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 2)
	const n = 5000
	for name, eb := range map[string]*bus.EventBus{"alone": nodes[1].EventBus, "clustered": nodes[0].EventBus} {
		got, done := 0, make(chan struct{})
		address := "race " + name
		c := consume(t, nodes[1].EventBus, address, func(_ context.Context, m *bus.Message) error {
			if want := fmt.Sprint(got); string(m.Body) != want {
				t.Errorf("%s came, not %s", m.Body, want)
			}
			if got++; got == n {
				close(done)
			}
			return nil
		})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						c.Pause()
						c.Resume()
					}
				}
			})
		}
		send(t, eb, address, numbers(0, n)...)
		receive(t, done)
		wg.Wait()
		c.Close()
	}
}
