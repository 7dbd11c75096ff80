package verticle_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// noting is a verticle that notes its steps, with an echo at its name and a
// goroutine, and deploys its children.
func noting(t *testing.T, j *journal, eb *bus.EventBus, name string, children ...verticle.Verticle) verticle.Verticle {
	return &part{
		start: func(ctx context.Context, d *verticle.Deployment) error {
			j.add("start " + name)
			d.Go(func(ctx context.Context) error {
				<-ctx.Done()
				j.add("goroutine of " + name)
				return ctx.Err()
			})
			for _, c := range children {
				if _, err := d.Deploy(ctx, c); err != nil {
					return err
				}
			}
			_, err := d.Consume(name, echo)
			return err
		},
		stop: func(context.Context) error {
			wantNoConsumer(t, eb, name)
			j.add("stop " + name)
			return nil
		},
	}
}

func TestUndeployOrder(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		d := deploy(t, eb, noting(t, &j, eb, "a",
			noting(t, &j, eb, "b", noting(t, &j, eb, "c")),
			noting(t, &j, eb, "d")))
		for _, a := range []string{"a", "b", "c", "d"} {
			wantConsumer(t, eb, a)
		}
		undeploy(t, d)
		j.want(t, "start a", "start b", "start c", "start d",
			"stop d", "goroutine of d", "stop c", "goroutine of c", "stop b", "goroutine of b", "stop a", "goroutine of a")
	})
}

// TestUndeployAwaitsHandler: what runs is finished, and Stop comes after it.
func TestUndeployAwaitsHandler(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		d := deploy(t, eb, &part{
			start: func(_ context.Context, d *verticle.Deployment) error {
				_, err := d.Consume("a", bus.Respond(func(context.Context, string) (string, error) {
					time.Sleep(5 * time.Second)
					j.add("handled")
					return "done", nil
				}))
				return err
			},
			stop: func(context.Context) error { j.add("stopped"); return nil },
		})
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			if s, err := bus.Request[string](t.Context(), eb, "a", ""); s != "done" || err != nil {
				t.Errorf("%q, %v; want done", s, err)
			}
		}()
		synctest.Wait()
		undeploy(t, d)
		j.want(t, "handled", "stopped")
		<-answered
	})
}

// TestStopUsesBus: Stop may request, a child's from its parent too.
func TestStopUsesBus(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		other := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			_, err := d.Consume("other", echo)
			return err
		}})
		d := deploy(t, eb, &part{stop: func(ctx context.Context) error {
			s, err := bus.Request[string](ctx, eb, "other", "bye")
			if s != "bye" {
				t.Errorf("%q, want bye", s)
			}
			return err
		}})
		undeploy(t, d)
		undeploy(t, other)

		parent := deploy(t, eb, &part{start: func(ctx context.Context, d *verticle.Deployment) error {
			_, err := d.Deploy(ctx, &part{stop: func(context.Context) error {
				wantConsumer(t, eb, "parent")
				return nil
			}})
			if err != nil {
				return err
			}
			_, err = d.Consume("parent", echo)
			return err
		}})
		undeploy(t, parent)
	})
}

func TestUndeployMany(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		stops := 0
		d := deploy(t, eb, &part{stop: func(context.Context) error {
			stops++
			time.Sleep(time.Second)
			return errTest
		}})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { wantErr(t, d.Undeploy(context.Background()), errTest) })
		}
		wg.Wait()
		wantErr(t, d.Undeploy(context.Background()), errTest)
		wantErr(t, d.Err(), errTest)
		if stops != 1 {
			t.Errorf("Stop was called %d times", stops)
		}
	})
}

// TestUndeployFromInside: code of the deployment, or of a child, that undeploys
// it does not wait for itself.
func TestUndeployFromInside(t *testing.T) {
	t.Parallel()
	request := func(t *testing.T, eb *bus.EventBus, _ *verticle.Deployment) {
		if _, err := eb.Request(t.Context(), "end", nil); err != nil {
			t.Error(err)
		}
	}
	for _, tt := range []struct {
		name string
		part func(end func(context.Context) error) *part // to be the child
		act  func(t *testing.T, eb *bus.EventBus, d *verticle.Deployment)
	}{
		{"handler", func(end func(context.Context) error) *part {
			return &part{start: func(_ context.Context, d *verticle.Deployment) error {
				_, err := d.Consume("end", bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error {
					ctx, cancel := context.WithTimeout(ctx, time.Hour)
					defer cancel()
					return end(ctx)
				}))
				return err
			}}
		}, request},
		{"goroutine", func(end func(context.Context) error) *part {
			return &part{start: func(_ context.Context, d *verticle.Deployment) error {
				d.Go(func(ctx context.Context) error {
					time.Sleep(time.Minute)
					return end(ctx)
				})
				return nil
			}}
		}, nil},
		{"turn of a goroutine", func(end func(context.Context) error) *part {
			return &part{start: func(_ context.Context, d *verticle.Deployment) error {
				d.Go(func(ctx context.Context) error {
					time.Sleep(time.Minute)
					return d.EventBus().Do(ctx, end)
				})
				return nil
			}}
		}, nil},
		{"stop", func(end func(context.Context) error) *part {
			return &part{stop: func(ctx context.Context) error { return end(ctx) }}
		}, func(t *testing.T, _ *bus.EventBus, d *verticle.Deployment) { undeploy(t, d) }},
	} {
		for _, whose := range []string{"own", "parent's"} {
			t.Run(tt.name+", "+whose, func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, eb *bus.EventBus) {
					var target *verticle.Deployment
					set := make(chan struct{})
					calls := 0
					inner := tt.part(func(ctx context.Context) error {
						<-set
						calls++
						return target.Undeploy(ctx)
					})
					outer := deploy(t, eb, &part{start: func(ctx context.Context, d *verticle.Deployment) error {
						child, err := d.Deploy(ctx, inner)
						if target = child; whose == "parent's" {
							target = d
						}
						close(set)
						return err
					}})
					if tt.act != nil {
						tt.act(t, eb, outer)
					}
					<-target.Done()
					undeploy(t, target)
					if calls != 1 {
						t.Errorf("%d calls; want 1", calls)
					}
					if whose == "own" && tt.name != "stop" && isClosed(outer.Done()) {
						t.Error("the parent ended with its child's undeployment")
					}
					undeploy(t, outer)
				})
			})
		}
	}
}

// TestUndeployInAnothersTurn: who takes the turn of another deployment still holds
// its own.
func TestUndeployInAnothersTurn(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		other := deploy(t, eb, new(part))
		d := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			_, err := d.Consume("end", bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error {
				return other.EventBus().Do(ctx, d.Undeploy)
			}))
			return err
		}})
		began := time.Now()
		if _, err := eb.Request(t.Context(), "end", nil); err != nil {
			t.Error(err)
		}
		<-d.Done()
		if took := time.Since(began); took > 0 || d.Err() != nil {
			t.Errorf("%v after %v; want an end at once", d.Err(), took)
		}
		undeploy(t, other)
	})
}

// TestDeadlockOfAChildsStart: in it the handler that deploys the child waits.
func TestDeadlockOfAChildsStart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		d := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			_, err := d.Consume("a", bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error {
				for verb, call := range map[string]func(context.Context) error{
					"Do":      func(ctx context.Context) error { return d.EventBus().Do(ctx, new(part).Stop) },
					"Request": func(ctx context.Context) error { _, err := eb.Request(ctx, "a", nil); return err },
				} {
					_, err := d.Deploy(ctx, &part{start: func(ctx context.Context, _ *verticle.Deployment) error { return call(ctx) }})
					if !errors.Is(err, bus.ErrDeadlock) {
						t.Errorf("%s: %v; want ErrDeadlock", verb, err)
					}
				}
				return nil
			}))
			return err
		}})
		if _, err := eb.Request(t.Context(), "a", nil); err != nil {
			t.Error(err)
		}
		undeploy(t, d)
	})
}

// TestUndeployInStart begins the end of what has not started.
func TestUndeployInStart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		v := &part{
			start: func(ctx context.Context, d *verticle.Deployment) error { return d.Undeploy(ctx) },
			stop:  func(context.Context) error { j.add("stopped"); return nil },
		}
		_, err := verticle.Deploy(t.Context(), eb, v, verticle.WithLogger(quiet))
		wantErr(t, err, verticle.ErrUndeployed)
		j.want(t, "stopped")

		// In a child's Start, the parent's.
		parent := &part{
			start: func(ctx context.Context, d *verticle.Deployment) error {
				_, _ = d.Deploy(ctx, &part{ // whether the child's end comes before it is up is open
					start: func(ctx context.Context, _ *verticle.Deployment) error { return d.Undeploy(ctx) },
					stop:  func(context.Context) error { j.add("child stopped"); return nil },
				})
				return nil
			},
			stop: func(context.Context) error { j.add("parent stopped"); return nil },
		}
		_, err = verticle.Deploy(t.Context(), eb, parent, verticle.WithLogger(quiet))
		wantErr(t, err, verticle.ErrUndeployed)
		j.want(t, "stopped", "child stopped", "parent stopped")
	})
}

// TestChildrenByHandlers: a handler may deploy and undeploy children, whose
// goroutines are not taken for it.
func TestChildrenByHandlers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		child := &part{
			start: func(_ context.Context, d *verticle.Deployment) error {
				d.Go(func(ctx context.Context) error {
					wantConsumer(t, d.EventBus(), "echo") // when its parent's turn is free
					_, err := bus.Request[string](ctx, d.EventBus(), "echo", "")
					j.add("asked")
					return err
				})
				return nil
			},
			stop: func(context.Context) error { j.add("stopped"); return nil },
		}
		var made *verticle.Deployment // guarded by the turn
		d := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			for address, h := range map[string]bus.HandlerFunc{
				"deploy":   func(ctx context.Context, _ *bus.Message) (err error) { made, err = d.Deploy(ctx, child); return err },
				"undeploy": func(ctx context.Context, _ *bus.Message) error { return made.Undeploy(ctx) },
			} {
				if _, err := d.Consume(address, h); err != nil {
					return err
				}
			}
			_, err := d.Consume("echo", echo)
			return err
		}})
		for range 2 {
			for _, address := range []string{"deploy", "undeploy"} {
				if _, err := eb.Request(t.Context(), address, nil); err != nil {
					t.Error(err)
				}
				synctest.Wait()
			}
		}
		j.want(t, "asked", "stopped", "asked", "stopped")
		undeploy(t, d)
	})
}

// TestNothingNewWhileUndeploying: neither consumers nor children, and no
// goroutine after the others have been told to end.
func TestNothingNewWhileUndeploying(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		var d *verticle.Deployment
		child := new(part)
		d = deploy(t, eb, &part{stop: func(ctx context.Context) error {
			_, err := d.Consume("late", echo)
			wantErr(t, err, verticle.ErrUndeployed)
			_, err = d.Deploy(ctx, child)
			wantErr(t, err, verticle.ErrUndeployed)
			d.Go(func(ctx context.Context) error { j.add("helped stop"); <-ctx.Done(); return ctx.Err() })
			return nil
		}})
		undeploy(t, d)
		d.Go(func(context.Context) error { j.add("too late"); return nil })
		_, err := d.Consume("late", echo)
		wantErr(t, err, verticle.ErrUndeployed)
		synctest.Wait()
		j.want(t, "helped stop")
		undeploy(t, deploy(t, eb, child)) // which is nobody's
	})
}

// TestChildUndeployed: that is no failure, even with an error.
func TestChildUndeployed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		parent := deploy(t, eb, new(part))
		child, err := parent.Deploy(t.Context(), &part{stop: func(context.Context) error { return errTest }})
		if err != nil {
			t.Fatal(err)
		}
		wantErr(t, child.Undeploy(t.Context()), errTest)
		undeploy(t, parent)
	})
}

// TestBusCloses: the deployments on it end, and are not restarted.
func TestBusCloses(t *testing.T) {
	t.Parallel()
	t.Run("never", func(t *testing.T) { t.Parallel(); testBusCloses(t) })
	t.Run("restart", func(t *testing.T) { t.Parallel(); testBusCloses(t, quick) })
}

func testBusCloses(t *testing.T, opts ...verticle.Option) {
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		opts = append(opts, verticle.WithEvents(func(e verticle.Event) {
			if _, ok := e.(verticle.Restarting); ok {
				t.Error("restarting")
			}
		}))
		d := deploy(t, eb, &part{
			start: func(ctx context.Context, d *verticle.Deployment) error {
				d.Go(func(ctx context.Context) error { <-ctx.Done(); j.add("goroutine"); return ctx.Err() })
				if _, err := d.Deploy(ctx, &part{stop: func(context.Context) error { j.add("stop child"); return nil }}); err != nil {
					return err
				}
				_, err := d.Consume("a", echo)
				return err
			},
			stop: func(context.Context) error { j.add("stop"); return nil },
		}, opts...)
		if err := eb.Close(); err != nil {
			t.Error(err)
		}
		<-d.Done()
		wantErr(t, d.Err(), bus.ErrClosed)
		wantErr(t, d.Undeploy(t.Context()), bus.ErrClosed)
		j.want(t, "stop child", "stop", "goroutine")
	})
}

// TestBusClosesWhileStarting: Deploy fails, and what Start made is undone.
func TestBusClosesWhileStarting(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		time.AfterFunc(time.Second, func() { eb.Close() })
		_, err := verticle.Deploy(t.Context(), eb, &part{
			start: func(ctx context.Context, d *verticle.Deployment) error {
				d.Go(func(ctx context.Context) error { <-ctx.Done(); j.add("goroutine"); return ctx.Err() })
				d.Every(time.Millisecond, func(context.Context) error { j.add("timer"); return nil })
				if _, err := d.Consume("a", echo); err != nil {
					return err
				}
				<-ctx.Done()
				return ctx.Err()
			},
			stop: func(context.Context) error { j.add("stop"); return nil },
		}, verticle.WithLogger(quiet))
		wantErr(t, err, bus.ErrClosed)
		j.want(t, "goroutine")
	})
}

// TestUndeployOneAndAll: an error of Stop is told, and keeps nothing from its
// end, nor the others from theirs.
func TestUndeployOneAndAll(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		errs := map[string]error{"a": errors.New("of a"), "b": errors.New("of b"), "c": errors.New("of c")}
		of := map[string]*verticle.Deployment{}
		all := deploy(t, eb, new(part))
		for name, err := range errs {
			d, failed := all.Deploy(t.Context(), &part{
				start: func(_ context.Context, d *verticle.Deployment) error {
					_, err := d.Consume(name, echo)
					return err
				},
				stop: func(context.Context) error { return err },
			})
			if of[name] = d; failed != nil {
				t.Fatal(failed)
			}
		}
		wantErr(t, of["a"].Undeploy(t.Context()), errs["a"])
		wantNoConsumer(t, eb, "a")
		wantConsumer(t, eb, "b")
		err := all.Undeploy(t.Context())
		wantErr(t, err, errs["b"])
		wantErr(t, err, errs["c"])
		if errors.Is(err, errs["a"]) {
			t.Errorf("error %v; want it without what was undeployed before", err)
		}
		for name, d := range of {
			if !isClosed(d.Done()) {
				t.Errorf("%s has not ended", name)
			}
			wantNoConsumer(t, eb, name)
		}
	})
}
