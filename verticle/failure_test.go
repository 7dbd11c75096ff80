package verticle_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// TestErrorsAreJoined: the first one comes first.
func TestErrorsAreJoined(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		errStop, errChild, errLate := errors.New("of Stop"), errors.New("of the child"), errors.New("late")
		d := deploy(t, eb, &part{
			start: func(ctx context.Context, d *verticle.Deployment) error {
				d.Go(func(ctx context.Context) error { time.Sleep(time.Second); return errTest })
				d.Go(func(ctx context.Context) error { <-ctx.Done(); return errLate })
				_, err := d.Deploy(ctx, &part{stop: func(context.Context) error { return errChild }})
				return err
			},
			stop: func(context.Context) error { return errStop },
		})
		<-d.Done()
		for _, is := range []error{errTest, errChild, errStop, errLate} {
			wantErr(t, d.Err(), is)
		}
		if first, _, _ := strings.Cut(d.Err().Error(), "\n"); !strings.HasSuffix(first, ": go: of the test") {
			t.Errorf("first error %q", first)
		}
	})
}

func TestPanics(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		inGo := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			d.Go(func(context.Context) error { time.Sleep(time.Second); panic(errTest) })
			return nil
		}})
		<-inGo.Done()
		wantErr(t, inGo.Err(), verticle.ErrPanic)
		wantErr(t, inGo.Err(), errTest)

		inStop := deploy(t, eb, &part{stop: func(context.Context) error { panic("oh") }})
		wantErr(t, inStop.Undeploy(t.Context()), verticle.ErrPanic)

		inHandler := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			_, err := d.Consume("a", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
				if len(m.Body) == 0 {
					panic("oh")
				}
				return nil
			}))
			return err
		}})
		_, err := eb.Request(t.Context(), "a", nil)
		if e := new(bus.ReplyError); !errors.As(err, &e) || e.Code != bus.CodePanic {
			t.Errorf("%v; want CodePanic", err)
		}
		if _, err := eb.Request(t.Context(), "a", "again"); err != nil { // it goes on
			t.Error(err)
		}
		undeploy(t, inHandler)
	})
}

// TestGoFails: what is no error of a function still is one of its goroutine.
func TestGoFails(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(context.Context) error{
		"nil function":   nil,
		"runtime.Goexit": func(context.Context) error { runtime.Goexit(); return nil },
		"canceled":       func(context.Context) error { return context.Canceled }, // not by the end
	} {
		bubble(t, func(t *testing.T, eb *bus.EventBus) {
			d := deploy(t, eb, new(part))
			d.Go(f)
			<-d.Done()
			if err := d.Err(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%v; want an error with %q", err, name)
			}
		})
	}
}

// TestChildFails: its parents end too, and its siblings, for its reason.
func TestChildFails(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		failing := &part{start: func(_ context.Context, d *verticle.Deployment) error {
			d.Go(func(context.Context) error { time.Sleep(time.Second); return errTest })
			return nil
		}}
		d := deploy(t, eb, noting(t, &j, eb, "a", noting(t, &j, eb, "b", failing), noting(t, &j, eb, "c")))
		<-d.Done()
		wantErr(t, d.Err(), errTest)
		if n := strings.Count(d.Err().Error(), "of the test"); n != 1 {
			t.Errorf("error %v has its cause %d times", d.Err(), n)
		}
		// b has failed too and ends at once, c meanwhile, and a last.
		if n := len(j.lines); n != 9 || !slices.Equal(j.lines[n-2:], []string{"stop a", "goroutine of a"}) {
			t.Errorf("happened: %q; want all to end, a last", j.lines)
		}
	})
}

// TestEndIsNoFailure: what a function returns because the deployment is to end
// is none.
func TestEndIsNoFailure(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(d *verticle.Deployment, stopping <-chan struct{}){
		"context of a timer": func(d *verticle.Deployment, _ <-chan struct{}) {
			d.After(0, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		},
		"cause of a timer": func(d *verticle.Deployment, _ <-chan struct{}) {
			d.After(0, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
		},
		"refusal of a timer": func(d *verticle.Deployment, _ <-chan struct{}) {
			d.After(0, func(ctx context.Context) error {
				<-ctx.Done()
				_, err := d.Consume("late", echo)
				return err
			})
		},
		"cause of a goroutine": func(d *verticle.Deployment, _ <-chan struct{}) {
			d.Go(func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
		},
		"refusal of a goroutine": func(d *verticle.Deployment, stopping <-chan struct{}) {
			d.Go(func(context.Context) error {
				<-stopping
				_, err := d.Consume("late", echo)
				return err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				stopping := make(chan struct{})
				d := deploy(t, eb, &part{
					start: func(_ context.Context, d *verticle.Deployment) error { start(d, stopping); return nil },
					stop:  func(context.Context) error { close(stopping); time.Sleep(time.Second); return nil },
				})
				synctest.Wait()
				undeploy(t, d)
			})
		})
	}
}

// TestRefusalOfAnother: that another deployment has ended is a failure like any.
func TestRefusalOfAnother(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		other := deploy(t, eb, new(part))
		undeploy(t, other)
		d := deploy(t, eb, new(part))
		d.Go(func(context.Context) error { _, err := other.Consume("a", echo); return err })
		<-d.Done()
		wantErr(t, d.Err(), verticle.ErrUndeployed)
	})
}
