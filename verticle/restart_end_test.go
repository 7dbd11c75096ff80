package verticle_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// TestUndeployAmidRestart ends it where it is, without its failure.
func TestUndeployAmidRestart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		after time.Duration // the failure; Stop takes 1 s, the pause at least 5, Start 10 s
		took  time.Duration
	}{
		{"undoing", time.Second / 2, time.Second / 2},
		{"pause", 2 * time.Second, 0},
		{"start", 17 * time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				starts, stops := 0, 0
				d := deploy(t, eb, &part{
					start: func(ctx context.Context, d *verticle.Deployment) error {
						if starts++; starts == 1 {
							d.Go(func(context.Context) error { time.Sleep(time.Second); return errTest })
							return nil
						}
						select {
						case <-time.After(time.Minute):
						case <-ctx.Done():
						}
						return ctx.Err()
					},
					stop: func(context.Context) error { stops++; time.Sleep(time.Second); return nil },
				}, verticle.WithRestart(verticle.Restart{Delay: 10 * time.Second}))
				time.Sleep(time.Second + tt.after)
				began := time.Now()
				undeploy(t, d)
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v; want %v", took, tt.took)
				}
				if stops != 1 {
					t.Errorf("%d stops; want 1", stops)
				}
				if (starts == 2) != (tt.name == "start") {
					t.Errorf("%d starts", starts)
				}
			})
		})
	}
}

// TestUndeployHurriesRestart: its deadline bounds also what a restart undoes.
func TestUndeployHurriesRestart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		d := deploy(t, eb, &part{
			start: func(_ context.Context, d *verticle.Deployment) error {
				d.After(time.Second, func(context.Context) error { return errTest })
				return nil
			},
			stop: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		}, quick)
		time.Sleep(time.Second)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		began := time.Now()
		_ = d.Undeploy(ctx)
		<-d.Done()
		wantErr(t, d.Err(), context.Canceled) // of Stop
		if errors.Is(d.Err(), errTest) {
			t.Errorf("error %v; want it without the failure", d.Err())
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v; want 2 s", took)
		}
	})
}

// TestNoRestartOverWhatIsLeft: two Starts must not meet.
func TestNoRestartOverWhatIsLeft(t *testing.T) {
	t.Parallel()
	for _, whose := range []string{"own", "child's"} {
		t.Run(whose, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				v := &stuck{goroutine: true, release: make(chan struct{})}
				starts := 0
				var j journal
				parent := deploy(t, eb, new(part))
				d, err := parent.Deploy(t.Context(), &part{start: func(ctx context.Context, d *verticle.Deployment) (err error) {
					starts++
					d.After(time.Second, func(context.Context) error { return errTest })
					if whose == "own" {
						return v.Start(ctx, d)
					}
					_, err = d.Deploy(ctx, v)
					return err
				}}, quick, verticle.WithName("left"), verticle.WithEvents(func(e verticle.Event) {
					if words := strings.Fields(eventText(e)); slices.Contains(words, "verticle_test.part/left") {
						j.add(words[0])
					}
				}))
				if err != nil {
					t.Fatal(err)
				}
				<-parent.Done()
				j.want(t, "started", "failed", "stopped")
				for _, err := range []error{d.Err(), parent.Err()} {
					wantErr(t, err, errTest)
				}
				if text := d.Err().Error(); !strings.Contains(text, "wait for 1 goroutine") || !strings.Contains(text, "not restarted") {
					t.Errorf("error %q; want what was left", text)
				}
				if starts != 1 {
					t.Errorf("%d starts; want 1", starts)
				}
				close(v.release)
				synctest.Wait()
			})
		})
	}
}

// TestBusClosesInPause: there is nothing to restart on.
func TestBusClosesInPause(t *testing.T) {
	t.Parallel()
	for _, below := range []bool{false, true} {
		bubble(t, func(t *testing.T, eb *bus.EventBus) {
			starts := 0
			v := &part{start: func(_ context.Context, d *verticle.Deployment) error {
				starts++
				d.After(time.Second, func(context.Context) error { return errTest })
				return nil
			}}
			restart := verticle.WithRestart(verticle.Restart{Delay: time.Minute, MaxDelay: time.Minute})
			var root *verticle.Deployment
			if below {
				root = deploy(t, eb, new(part), restart)
				if _, err := root.Deploy(t.Context(), v, restart); err != nil {
					t.Fatal(err)
				}
			} else {
				root = deploy(t, eb, v, restart)
			}
			time.Sleep(2 * time.Second)
			if err := eb.Close(); err != nil {
				t.Error(err)
			}
			<-root.Done()
			wantErr(t, root.Err(), bus.ErrClosed)
			if starts != 1 {
				t.Errorf("%d starts; want 1", starts)
			}
		})
	}
}

// TestRestartFromInside: code of the deployment that undeploys it ends it, and
// is no reason for a restart.
func TestRestartFromInside(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		starts := 0
		d := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			starts++
			d.After(time.Second, func(ctx context.Context) error { return d.Undeploy(ctx) })
			return nil
		}}, quick)
		<-d.Done()
		if d.Err() != nil || starts != 1 {
			t.Errorf("%v, %d starts; want an end without an error", d.Err(), starts)
		}
	})
}
