package verticle_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

func TestRun(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- verticle.Run(ctx, eb, noting(t, &j, eb, "a"), noting(t, &j, eb, "b"), noting(t, &j, eb, "c"))
		}()
		synctest.Wait()
		for _, a := range []string{"a", "b", "c"} {
			wantConsumer(t, eb, a)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		j.want(t, "start a", "start b", "start c",
			"stop c", "goroutine of c", "stop b", "goroutine of b", "stop a", "goroutine of a")
	})
}

// TestRunStopsGracefully: Stop's context is a fresh one.
func TestRunStopsGracefully(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := verticle.Run(ctx, eb, &part{stop: func(ctx context.Context) error {
			if deadline, _ := ctx.Deadline(); time.Until(deadline) != 10*time.Second {
				t.Errorf("Stop has %v; want 10 s", time.Until(deadline))
			}
			time.Sleep(5 * time.Second)
			return ctx.Err()
		}})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	fails := func(_ context.Context, d *verticle.Deployment) error { return errTest }
	failsLater := func(_ context.Context, d *verticle.Deployment) error {
		d.Go(func(context.Context) error { time.Sleep(time.Second); return errTest })
		return nil
	}
	for name, start := range map[string]verticle.Func{"start": fails, "go": failsLater} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				var j journal
				err := verticle.Run(t.Context(), eb, noting(t, &j, eb, "a"), &part{start: start})
				wantErr(t, err, errTest)
				if text := err.Error(); !strings.HasPrefix(text, "verticle: part-") || !strings.HasSuffix(text, name+": of the test") {
					t.Errorf("error %q; want that of the part alone", text)
				}
				j.want(t, "start a", "stop a", "goroutine of a")
			})
		})
	}
}

// TestRunEndsWhileStarting: to be told to stop is no failure.
func TestRunEndsWhileStarting(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wait := &part{start: func(ctx context.Context, _ *verticle.Deployment) error { <-ctx.Done(); return ctx.Err() }}
		if err := verticle.Run(ctx, eb, noting(t, &j, eb, "a"), wait); err != nil {
			t.Error(err)
		}
		j.want(t, "start a", "stop a", "goroutine of a")
	})
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		err := verticle.Run(t.Context(), eb, noting(t, &j, eb, "a"), nil)
		if err == nil || !strings.Contains(err.Error(), "verticle 2 of Run") {
			t.Errorf("%v; want the second verticle named", err)
		}
		if err := verticle.Run(t.Context(), nil, new(part)); err == nil {
			t.Error("no error for a nil bus")
		}
		v := noting(t, &j, eb, "b")
		wantErr(t, verticle.Run(t.Context(), eb, v, v), verticle.ErrDeployed)
		j.want(t, "start b", "stop b", "goroutine of b")
	})
}

func TestRunOnABusThatCloses(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		time.AfterFunc(time.Minute, func() { eb.Close() })
		wantErr(t, verticle.Run(t.Context(), eb, new(part)), bus.ErrClosed)
	})
}

// TestRunNothing waits for the end of its context.
func TestRunNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := verticle.Run(ctx, eb); err != nil || time.Since(began) != time.Minute {
			t.Errorf("%v after %v; want nil after a minute", err, time.Since(began))
		}
	})
}
