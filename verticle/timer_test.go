package verticle_test

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// beats notes when it was called, since it was made.
type beats struct {
	began time.Time

	mu sync.Mutex
	at []time.Duration
}

func newBeats() *beats { return &beats{began: time.Now()} }

func (b *beats) beat(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = append(b.at, time.Since(b.began))
	return nil
}

// want compares, in tenths of a second.
func (b *beats) want(t *testing.T, tenths ...int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var at []int
	for _, d := range b.at {
		at = append(at, int(d/(100*time.Millisecond)))
	}
	if !slices.Equal(at, tenths) {
		t.Errorf("called at %v; want %v", at, tenths)
	}
}

func TestEvery(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		b := newBeats()
		d := deploy(t, eb, new(part))
		d.Every(time.Second, b.beat)
		time.Sleep(3*time.Second + 1)
		undeploy(t, d)
		time.Sleep(time.Minute)
		b.want(t, 10, 20, 30)
	})
}

func TestAfter(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		b := newBeats()
		d := deploy(t, eb, new(part))
		d.After(2*time.Second, b.beat)
		d.After(0, b.beat)
		d.After(-time.Second, b.beat)
		time.Sleep(time.Minute)
		undeploy(t, d)
		b.want(t, 0, 0, 20)
	})
}

// TestTimersDoNotPileUp: what falls due while a call runs, or waits for the
// turn, is left out; the next comes at its time.
func TestTimersDoNotPileUp(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		b := newBeats()
		d := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			d.Every(time.Second, b.beat)
			time.Sleep(3500 * time.Millisecond) // a Start that takes time
			b.want(t)
			_, err := d.Consume("slow", bus.HandlerFunc(func(context.Context, *bus.Message) error {
				time.Sleep(3300 * time.Millisecond)
				return nil
			}))
			return err
		}})
		time.Sleep(1200 * time.Millisecond) // 4.7
		if err := eb.Send(t.Context(), "slow", nil); err != nil {
			t.Error(err)
		}
		time.Sleep(4400 * time.Millisecond) // 9.1
		b.want(t, 35, 40, 80, 90)
		undeploy(t, d)

		slow := newBeats()
		d = deploy(t, eb, new(part))
		d.Every(time.Second, func(ctx context.Context) error {
			defer time.Sleep(1500 * time.Millisecond)
			return slow.beat(ctx)
		})
		time.Sleep(6 * time.Second)
		undeploy(t, d)
		slow.want(t, 10, 30, 50)
	})
}

// TestTimersTakeTurns with each other and with handlers.
func TestTimersTakeTurns(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		inside, count := 0, 0 // guarded by the turn
		turn := func(context.Context) error {
			if inside++; inside > 1 {
				t.Error("two have the turn")
			}
			time.Sleep(time.Millisecond)
			inside--
			count++
			return nil
		}
		d := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			for range 3 {
				d.Every(10*time.Millisecond, turn)
			}
			_, err := d.Consume("a", bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error { return turn(ctx) }))
			return err
		}})
		for range 100 {
			if err := eb.Send(t.Context(), "a", nil); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Second)
		undeploy(t, d)
		if count < 200 {
			t.Errorf("%d turns; want 100 messages, and as many beats at least", count)
		}
	})
}

// TestStopTimer: anywhere, any number of times; what has the turn can rely on it.
func TestStopTimer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		d := deploy(t, eb, new(part))
		inside := newBeats()
		var stop func()
		stop = d.Every(time.Second, func(ctx context.Context) error {
			if err := inside.beat(ctx); len(inside.at) < 2 {
				return err
			}
			stop()
			stop()
			return nil
		})
		before, outside, late := newBeats(), newBeats(), newBeats()
		d.After(time.Second, before.beat)() // at once
		stopOutside := d.Every(time.Second, outside.beat)
		stopLate := d.After(time.Second, late.beat)
		time.Sleep(500 * time.Millisecond)
		if err := d.EventBus().Do(t.Context(), func(context.Context) error {
			time.Sleep(time.Second) // it waits for the turn
			stopLate()
			return nil
		}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // 2.5
		stopOutside()
		stopOutside()
		time.Sleep(time.Minute)
		inside.want(t, 15, 20)
		before.want(t)
		outside.want(t, 15, 20)
		late.want(t)
		undeploy(t, d)
		stop() // after the end
	})
}

// TestTimerFails: its deployment does.
func TestTimerFails(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(d *verticle.Deployment){
		"every: of the test":        func(d *verticle.Deployment) { d.Every(time.Second, func(context.Context) error { return errTest }) },
		"after: of the test":        func(d *verticle.Deployment) { d.After(time.Second, func(context.Context) error { return errTest }) },
		"after: verticle: panic: o": func(d *verticle.Deployment) { d.After(1, func(context.Context) error { panic("oh") }) },
		"runtime.Goexit":            func(d *verticle.Deployment) { d.After(1, func(context.Context) error { runtime.Goexit(); return nil }) },
		"context canceled":          func(d *verticle.Deployment) { d.After(1, func(context.Context) error { return context.Canceled }) },
		"after: nil function":       func(d *verticle.Deployment) { d.After(time.Second, nil)() },
		"every: nil function":       func(d *verticle.Deployment) { d.Every(time.Second, nil)() },
		"period of 0s":              func(d *verticle.Deployment) { d.Every(0, newBeats().beat)() },
		"period of -1s":             func(d *verticle.Deployment) { d.Every(-time.Second, newBeats().beat)() },
	} {
		bubble(t, func(t *testing.T, eb *bus.EventBus) {
			d := deploy(t, eb, new(part))
			start(d)
			<-d.Done()
			if err := d.Err(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%v; want an error with %q", err, name)
			}
		})
	}
}

// TestTimersEnd: what runs is told to end and awaited, and Stop comes after it;
// what waits for the turn is not called.
func TestTimersEnd(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		var text bytes.Buffer
		d := deploy(t, eb, &part{
			start: func(_ context.Context, d *verticle.Deployment) error {
				d.Every(time.Second, func(ctx context.Context) error {
					<-ctx.Done()
					time.Sleep(time.Second)
					j.add("ended")
					return ctx.Err()
				})
				d.Every(1100*time.Millisecond, func(context.Context) error { j.add("late"); return nil })
				return nil
			},
			stop: func(context.Context) error { j.add("stopped"); time.Sleep(time.Minute); return nil },
		}, verticle.WithLogger(slog.New(slog.NewTextHandler(&text, nil))))
		time.Sleep(5 * time.Second)
		if err := d.Undeploy(context.Background()); err == nil { // Stop takes too long
			t.Error("no error")
		}
		j.want(t, "ended", "stopped")
		d.After(0, func(context.Context) error { j.add("refused"); return nil })()
		d.Every(1, func(context.Context) error { j.add("refused"); return nil })()
		time.Sleep(time.Hour)
		j.want(t, "ended", "stopped")
		if n := strings.Count(text.String(), "timer refused"); n != 2 {
			t.Errorf("log %q; want two refusals", text.String())
		}
	})
}

// TestTimersEndAtOnce: while the children are being undeployed no call begins,
// and one that waits is told to end.
func TestTimersEndAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		d := deploy(t, eb, &part{start: func(ctx context.Context, d *verticle.Deployment) error {
			d.After(time.Second, func(ctx context.Context) error { <-ctx.Done(); j.add("ended"); return ctx.Err() })
			d.Every(1100*time.Millisecond, func(context.Context) error { j.add("called"); return nil })
			_, err := d.Deploy(ctx, &part{stop: func(context.Context) error {
				time.Sleep(5 * time.Second)
				j.add("child stopped")
				return nil
			}})
			return err
		}})
		time.Sleep(2 * time.Second)
		undeploy(t, d)
		j.want(t, "ended", "child stopped")
	})
}

// TestStuckTimer is named.
func TestStuckTimer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		release := make(chan struct{})
		d := deploy(t, eb, new(part))
		d.After(0, func(context.Context) error { <-release; return nil })
		synctest.Wait()
		err := d.Undeploy(context.Background())
		for _, want := range []string{"wait for a timer's function", "stop: not called"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v; want %q in it", err, want)
			}
		}
		close(release)
		synctest.Wait()
	})
}

// TestTimersOfAFailedStart are never called.
func TestTimersOfAFailedStart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		b := newBeats()
		for range 100 { // it is a matter of who is first
			_, err := verticle.Deploy(t.Context(), eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
				d.Every(time.Second, b.beat)
				d.After(0, b.beat)
				time.Sleep(5 * time.Second)
				return errTest
			}}, verticle.WithLogger(quiet))
			wantErr(t, err, errTest)
		}
		time.Sleep(time.Hour)
		b.want(t)
	})
}

// TestTimersRestart: each life has those that its Start made.
func TestTimersRestart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		b := newBeats()
		lives := 0
		d := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			if lives++; lives == 1 {
				d.Every(time.Second, b.beat)
				d.After(2500*time.Millisecond, func(context.Context) error { return errTest })
			}
			return nil
		}}, quick)
		time.Sleep(time.Hour)
		undeploy(t, d)
		b.want(t, 10, 20)
		if lives != 2 {
			t.Errorf("%d lives; want 2", lives)
		}
	})
}

// TestTimerUsesBus: it has the turn, and no more than that.
func TestTimerUsesBus(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		other := deploy(t, eb, consumes("other"))
		d := deploy(t, eb, consumes("own"))
		d.After(time.Second, func(ctx context.Context) error {
			_, err := eb.Request(ctx, "own", nil)
			wantErr(t, err, bus.ErrDeadlock)
			wantErr(t, d.EventBus().Do(ctx, func(context.Context) error { return nil }), bus.ErrDeadlock)
			if s, err := bus.Request[string](ctx, eb, "other", "x"); s != "x" || err != nil {
				t.Errorf("%q, %v; want an echo", s, err)
			}
			if _, err := d.Consume("later", echo); err != nil {
				t.Error(err)
			}
			wantNoConsumer(t, eb, "later")
			return nil
		})
		time.Sleep(2 * time.Second)
		wantConsumer(t, eb, "later")
		undeploy(t, d)
		undeploy(t, other)
	})
}

// TestManyTimers: an idle one has no goroutine.
func TestManyTimers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		d := deploy(t, eb, new(part))
		before := runtime.NumGoroutine()
		for range 1000 {
			d.Every(time.Hour, newBeats().beat)
		}
		if n := runtime.NumGoroutine() - before; n > 500 { // other tests run too
			t.Errorf("%d goroutines for 1000 timers", n)
		}
		undeploy(t, d)
	})
}
