package verticle_test

import (
	"context"
	"errors"
	"fmt"
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
				if text := err.Error(); !strings.HasPrefix(text, "verticle: verticle_test.part-") || !strings.HasSuffix(text, name+": of the test") {
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

// TestRunForgivesOnlyItsContext: a Start that failed because the context had ended
// is none of Run's errors; all else is, wherever it is joined or wrapped.
func TestRunForgivesOnlyItsContext(t *testing.T) {
	t.Parallel()
	stops := &part{stop: func(context.Context) error { return errTest }}
	waits := &part{start: func(ctx context.Context, _ *verticle.Deployment) error { <-ctx.Done(); return ctx.Err() }}
	for name, tt := range map[string]struct {
		verticles []verticle.Verticle
		want      error
	}{
		"start":                          {[]verticle.Verticle{waits}, nil},
		"start of an instance":           {[]verticle.Verticle{verticle.Instances(1, func() verticle.Verticle { return waits })}, nil},
		"start, as a wrapped error":      {[]verticle.Verticle{startThen(func(err error) error { return fmt.Errorf("%w: connecting: %w", bus.ErrBusy, err) })}, nil},
		"stop of another":                {[]verticle.Verticle{stops, waits}, errTest},
		"stop of an instance of another": {[]verticle.Verticle{verticle.Instances(2, func() verticle.Verticle { c := *stops; return &c }), waits}, errTest},
		"stop beside a start, wrapped": {[]verticle.Verticle{&part{start: func(ctx context.Context, d *verticle.Deployment) error {
			if _, err := d.Deploy(ctx, stops); err != nil {
				return err
			}
			_, err := d.Deploy(ctx, waits)
			return fmt.Errorf("the parts: %w", err)
		}}}, errTest},
		"start, joined with more": {[]verticle.Verticle{startThen(func(err error) error { return errors.Join(err, errTest) })}, errTest},
		"start that panics":       {[]verticle.Verticle{startThen(func(err error) error { panic(err) })}, verticle.ErrPanic},
		"stop that ends by the context's error": {[]verticle.Verticle{
			&part{stop: func(context.Context) error { return context.Canceled }}, waits}, context.Canceled},
		"goroutine, joined with more": {[]verticle.Verticle{&part{start: func(_ context.Context, d *verticle.Deployment) error {
			d.Go(func(ctx context.Context) error { <-ctx.Done(); return errors.Join(ctx.Err(), errTest) })
			return nil
		}}, waits}, errTest},
		"goroutine": {[]verticle.Verticle{&part{start: func(_ context.Context, d *verticle.Deployment) error {
			d.Go(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			return nil
		}}, waits}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				if err := verticle.Run(ctx, eb, tt.verticles...); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
					t.Errorf("%v; want %v", err, tt.want)
				}
			})
		})
	}
}

// startThen is a verticle that waits in Start for its context, and returns what f
// makes of its error.
func startThen(f func(error) error) verticle.Verticle {
	return &part{start: func(ctx context.Context, _ *verticle.Deployment) error { <-ctx.Done(); return f(ctx.Err()) }}
}
