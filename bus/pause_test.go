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

// The window of a paused consumer fills, and does not grow; then senders go to
// another one. Nothing is lost.
func TestPauseBackPressure(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var first, second bodies
		c := consume(t, p.to, "a", first.Handle)
		c.Pause()
		const size = 1000
		pad := string(make([]byte, size-4))
		n := 0
		next := func() string { n++; return fmt.Sprintf("%04d%s", n, pad) }
		for {
			ctx, cancel := context.WithCancel(t.Context()) // the messages' deadline is a later one
			time.AfterFunc(time.Second, cancel)
			err := p.from.Send(ctx, "a", []byte(next()))
			if errors.Is(err, bus.ErrBusy) {
				n--
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if kept := n * (size + 128); kept < 16<<10 || kept > 18<<10 {
			t.Errorf("%d bytes waited; the window is 16 KiB", kept)
		}
		kept := n
		consume(t, p.to, "a", second.Handle)
		for range 100 {
			send(t, p.from, "a", next())
		}
		synctest.Wait()
		if first.len() > 0 || second.len() != 100 {
			t.Errorf("%d came to the paused one, %d to the other", first.len(), second.len())
		}
		c.Resume()
		synctest.Wait()
		if got := first.list(); len(got) != kept || !slices.IsSorted(got) {
			t.Errorf("%d of %d that were kept came, sorted: %v", len(got), kept, slices.IsSorted(got))
		}
		atRest(t, p.from)
	})
}

// The window of a paused consumer does not grow for a message that had to wait.
func TestPausedWindow(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		consume(t, p.to, "a", nothing).Pause()
		fill := func() (n int) {
			for {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				time.AfterFunc(time.Millisecond, cancel)
				if err := p.from.Send(ctx, "a", make([]byte, 896)); err != nil {
					return n
				}
				n++
			}
		}
		first := fill()
		if err := p.from.Send(t.Context(), "a", make([]byte, 896)); err != nil { // when the others have expired
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if again := fill(); first != 16 || again != first-1 {
			t.Errorf("%d messages of 1 KiB found room, then %d beside one that had waited", first, again)
		}
	})
}

// What has waited for too long at a paused consumer, or was given up, makes
// room, and is not handled later.
func TestDeadlineWhilePaused(t *testing.T) {
	for name, how := range map[string]struct {
		call func(context.Context, *bus.EventBus) error
		end  func(context.Context) (context.Context, context.CancelFunc)
		want error
		gave bool
	}{
		"request's deadline": {call: askOnce, end: inASecond, want: context.DeadlineExceeded},
		"request given up":   {call: askOnce, end: givenUp, want: context.Canceled, gave: true},
		"send's deadline":    {call: tell, end: inASecond},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, p pair) {
				var got bodies
				c := consume(t, p.to, "a", got.Handle, bus.WithWindow(1<<10))
				c.Pause()
				begin := time.Now()
				var wg sync.WaitGroup
				for range 8 { // 1,024 bytes
					ctx, cancel := how.end(t.Context())
					defer cancel()
					wg.Go(func() {
						if err := how.call(ctx, p.from); !errors.Is(err, how.want) {
							t.Errorf("got %v, want %v", err, how.want)
						}
					})
				}
				synctest.Wait()
				send(t, p.from, "a", "in time") // when there is room
				if took := time.Since(begin); took < time.Second || took > 1200*time.Millisecond {
					t.Errorf("there was room after %v", took)
				}
				wg.Wait()
				c.Resume()
				synctest.Wait()
				got.want(t, "in time")
				if s := p.to.Stats(); how.gave && s.Canceled != 8 || s.Canceled+s.Expired != 8 {
					t.Errorf("%d expired, %d were given up", s.Expired, s.Canceled)
				}
				atRest(t, p.from)
			})
		})
	}
}

func askOnce(ctx context.Context, eb *bus.EventBus) error {
	_, err := eb.Request(ctx, "a", nil)
	return err
}

func tell(ctx context.Context, eb *bus.EventBus) error { return eb.Send(ctx, "a", nil) }

func inASecond(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Second)
}

func givenUp(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	time.AfterFunc(time.Second, cancel)
	return ctx, cancel
}

// A publish waits for a paused consumer for as long as for any other, once.
func TestPublishWhilePaused(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var paused, other bodies
		c := consume(t, p.to, "a", paused.Handle, bus.WithWindow(1<<10))
		consume(t, p.to, "a", other.Handle)
		c.Pause()
		begin := time.Now()
		for i := range 20 {
			if err := p.from.Publish(t.Context(), "a", []byte(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took != 100*time.Millisecond {
			t.Errorf("20 took %v", took)
		}
		c.Resume()
		time.Sleep(time.Second)
		if n := paused.len(); n != 8 || p.from.Stats().Skipped != 12 {
			t.Errorf("%d came to the paused one, %d were skipped", n, p.from.Stats().Skipped)
		}
		other.want(t, numbers(0, 20)...)
		atRest(t, p.from)
	})
}

// Notices of the gossip lane wait at a paused consumer as others do, for their
// 30 s.
func TestGossipWhilePaused(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var got bodies
		c := consume(t, p.to, "a", got.Handle)
		for _, wait := range []time.Duration{time.Second, time.Minute, time.Second} {
			c.Pause()
			if err := p.from.Publish(t.Context(), "a", []byte(wait.String()), bus.Gossip()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(wait)
			c.Resume()
			synctest.Wait()
		}
		got.want(t, "1s", "1s")
		if s := p.to.Stats(); s.Expired != 1 {
			t.Errorf("%d expired", s.Expired)
		}
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
