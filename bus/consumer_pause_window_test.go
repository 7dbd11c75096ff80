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
)

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
