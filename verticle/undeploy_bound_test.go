package verticle_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// stuck has parts that do not return before release is closed, each if wanted.
type stuck struct {
	handler, goroutine, stop bool
	release                  chan struct{}
	stopped                  atomic.Bool
}

func (s *stuck) Start(_ context.Context, d *verticle.Deployment) error {
	if s.goroutine {
		d.Go(func(context.Context) error { <-s.release; return nil })
	}
	_, err := d.Consume("stuck", bus.HandlerFunc(func(context.Context, *bus.Message) error {
		if s.handler {
			<-s.release
		}
		return nil
	}))
	return err
}

func (s *stuck) Stop(context.Context) error {
	s.stopped.Store(true)
	if s.stop {
		<-s.release
	}
	return nil
}

// TestUndeployIsBounded: by 10 s or the context's deadline, and a last moment
// for each step; what does not return is named, and not deployed again.
func TestUndeployIsBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		stuck   *stuck
		want    []string
		stopped bool
	}{
		{"handler", &stuck{handler: true}, []string{`wait for the handler of "stuck": still under way`, "stop: not called"}, false},
		{"goroutine", &stuck{goroutine: true}, []string{"wait for 1 goroutine"}, true},
		{"stop", &stuck{stop: true}, []string{"wait for Stop"}, true},
		{"all", &stuck{handler: true, goroutine: true, stop: true}, []string{"handler", "not called", "goroutine"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				v := tt.stuck
				v.release = make(chan struct{})
				d := deploy(t, eb, v)
				if err := eb.Send(t.Context(), "stuck", nil); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				began := time.Now()
				err := d.Undeploy(context.Background())
				if took := time.Since(began); took < 10*time.Second || took > 11*time.Second {
					t.Errorf("took %v; want 10 s", took)
				}
				for _, want := range tt.want {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("error %v; want %q in it", err, want)
					}
				}
				if v.stopped.Load() != tt.stopped {
					t.Errorf("stopped: %v", v.stopped.Load())
				}
				close(v.release)
				synctest.Wait()
			})
		})
	}
}

// TestUndeployContext: its deadline is the bound, its end the end of the wait.
func TestUndeployContext(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		ctx        func() (context.Context, context.CancelFunc)
		wait, took time.Duration // of Undeploy, of the undeployment
		is         error
	}{
		{"deadline", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), time.Minute)
		}, time.Minute, time.Minute, context.DeadlineExceeded},
		{"cancelled", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, time.Second, 10 * time.Second, context.Canceled},
		{"over already", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), -time.Second)
		}, 0, 10 * time.Second, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				v := &stuck{goroutine: true, release: make(chan struct{})}
				d := deploy(t, eb, v)
				ctx, cancel := tt.ctx()
				defer cancel()
				began := time.Now()
				err := d.Undeploy(ctx)
				wantErr(t, err, tt.is)
				if took := time.Since(began); took != tt.wait {
					t.Errorf("Undeploy took %v; want %v", took, tt.wait)
				}
				if tt.wait > 0 && !strings.Contains(err.Error(), "wait for 1 goroutine") {
					t.Errorf("error %v; want what is waited for", err)
				}
				<-d.Done()
				if took := time.Since(began); took < tt.took || took > tt.took+time.Second {
					t.Errorf("the undeployment took %v; want %v", took, tt.took)
				}
				close(v.release)
				synctest.Wait()
			})
		})
	}
}

// TestParentCutsChild: a child that was given more time than its parent gets no
// more than that.
func TestParentCutsChild(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		v := &stuck{goroutine: true, release: make(chan struct{})}
		parent := deploy(t, eb, new(part))
		child, err := parent.Deploy(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		long, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		go func() {
			if err := child.Undeploy(long); err == nil {
				t.Error("no error for a goroutine left behind")
			}
		}()
		synctest.Wait()
		began := time.Now()
		undeploy(t, parent) // the error is its, who began the child's undeployment
		if took := time.Since(began); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("took %v; want 10 s", took)
		}
		close(v.release)
		synctest.Wait()
	})
}

// TestStopOfAStuckParent: a child that is stuck does not keep its parent from
// its Stop.
func TestStopOfAStuckParent(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		v := &stuck{stop: true, release: make(chan struct{})}
		above := &part{stop: func(ctx context.Context) error {
			if ctx.Err() != nil {
				t.Error("Stop's context was over before it was called")
			}
			j.add("stopped")
			return nil
		}}
		root := deploy(t, eb, new(part)) // which knows what is deployed
		parent, err := root.Deploy(t.Context(), above)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parent.Deploy(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		if err := parent.Undeploy(context.Background()); err == nil || !strings.Contains(err.Error(), "wait for Stop") {
			t.Errorf("error %v; want the child's", err)
		}
		j.want(t, "stopped")
		if _, err := root.Deploy(t.Context(), above); err != nil {
			t.Errorf("%v; want it deployed again, as nothing of it runs", err)
		}
		_, err = root.Deploy(t.Context(), v)
		wantErr(t, err, verticle.ErrDeployed)
		close(v.release)
		synctest.Wait()
	})
}

// TestStartTooLate: a Start that returns after the end is stopped all the same.
func TestStartTooLate(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		v := &part{
			start: func(_ context.Context, d *verticle.Deployment) error {
				go func() {
					if err := d.Undeploy(context.Background()); err == nil || !strings.Contains(err.Error(), "wait for Start") {
						t.Errorf("error %v; want that Start has not returned", err)
					}
					j.add("undeployed")
				}()
				time.Sleep(time.Minute)
				_, err := d.Consume("a", echo)
				return err
			},
			stop: func(context.Context) error { j.add("stopped"); return nil },
		}
		_, err := verticle.Deploy(t.Context(), eb, v, verticle.WithLogger(quiet))
		wantErr(t, err, verticle.ErrUndeployed)
		j.want(t, "undeployed")

		w := &part{stop: v.stop, start: func(_ context.Context, d *verticle.Deployment) error {
			go d.Undeploy(context.Background())
			time.Sleep(time.Minute)
			return nil
		}}
		_, err = verticle.Deploy(t.Context(), eb, w, verticle.WithLogger(quiet))
		wantErr(t, err, verticle.ErrUndeployed)
		j.want(t, "undeployed", "stopped")
	})
}

// TestUndeployOfManyIsBounded: however many do not return, there is one last moment
// for all together, in which those that can end, do; and what was left behind may be
// deployed again when it has returned.
func TestUndeployOfManyIsBounded(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 10, 50, 100} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				release := make(chan struct{})
				var stopped atomic.Int32
				last := &part{}
				hang := bus.HandlerFunc(func(context.Context, *bus.Message) error { <-release; return nil })
				root := deploy(t, eb, &part{start: func(ctx context.Context, d *verticle.Deployment) error {
					for i := range n {
						for _, p := range []*part{
							{start: func(_ context.Context, d *verticle.Deployment) error {
								_, err := d.Consume("turn", hang)
								return err
							}},
							{stop: func(context.Context) error { stopped.Add(1); return nil }},
							{stop: func(context.Context) error { <-release; return nil }},
						} {
							if _, err := d.Deploy(ctx, p); err != nil {
								return err
							}
						}
						if _, err := d.Consume(fmt.Sprint("beside ", i), hang, bus.WithConcurrency(2)); err != nil {
							return err
						}
						d.Go(func(context.Context) error { <-release; return nil })
					}
					_, err := d.Deploy(ctx, last)
					return err
				}})
				for i := range n {
					for _, a := range []string{"turn", fmt.Sprint("beside ", i)} {
						if err := eb.Send(t.Context(), a, nil); err != nil {
							t.Fatal(err)
						}
					}
				}
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				_ = root.Undeploy(ctx)
				<-root.Done()
				if took := time.Since(began); took > 1200*time.Millisecond {
					t.Errorf("took %v", took)
				}
				if got := int(stopped.Load()); got != n {
					t.Errorf("%d of %d that could were stopped", got, n)
				}
				if err := root.Err(); strings.Count(err.Error(), "wait for Stop") != n || strings.Count(err.Error(), `handler of "beside`) != n ||
					strings.Count(err.Error(), `handler of "turn"`) != n || !strings.Contains(err.Error(), fmt.Sprintf("wait for %d goroutines", n)) {
					t.Errorf("not all that was left behind is told: %v", err)
				}
				close(release)
				synctest.Wait()
			})
		})
	}
}

// TestLeftBehindIsDeployedAgain: once it has returned.
func TestLeftBehindIsDeployedAgain(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]*stuck{
		"handler": {handler: true}, "goroutine": {goroutine: true}, "stop": {stop: true}, "all": {handler: true, goroutine: true, stop: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				v.release = make(chan struct{})
				root := deploy(t, eb, &part{})
				defer undeploy(t, root)
				d, err := root.Deploy(t.Context(), v)
				if err != nil {
					t.Fatal(err)
				}
				if err := eb.Send(t.Context(), "stuck", nil); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				_ = d.Undeploy(context.Background())
				_, err = root.Deploy(t.Context(), v)
				wantErr(t, err, verticle.ErrDeployed)
				close(v.release)
				synctest.Wait()
				if d, err = root.Deploy(t.Context(), v); err != nil {
					t.Fatal(err)
				}
				undeploy(t, d)
			})
		})
	}
}
