package verticle_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/verticle"
)

// quick restarts after half a second or less, often enough for any test.
var quick = verticle.WithRestart(verticle.Restart{Max: 1000, MaxDelay: time.Second / 2})

// failing is a verticle that notes its steps and fails when told to: the first
// failure comes by a function of Go.
type failing struct {
	noting verticle.Verticle
	fail   chan error
}

func newFailing(t *testing.T, j *journal, eb *bus.EventBus, name string, children ...verticle.Verticle) *failing {
	return &failing{noting(t, j, eb, name, children...), make(chan error)}
}

func (f *failing) Start(ctx context.Context, d *verticle.Deployment) error {
	d.Go(func(ctx context.Context) error {
		select {
		case err := <-f.fail:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return f.noting.Start(ctx, d)
}

func (f *failing) Stop(ctx context.Context) error { return f.noting.Stop(ctx) }

// TestRestart: all is undone as by Undeploy, and made again by Start; the
// deployment stays the same.
func TestRestart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		v := newFailing(t, &j, eb, "a", noting(t, &j, eb, "b"))
		d := deploy(t, eb, v, quick)
		id := d.ID()
		for range 3 {
			j.lines = nil
			v.fail <- errTest
			synctest.Wait()
			j.want(t, "stop b", "goroutine of b", "stop a", "goroutine of a")
			wantNoConsumer(t, eb, "a")
			_, err := d.Consume("c", echo)
			wantErr(t, err, verticle.ErrUndeployed)
			_, err = d.Deploy(t.Context(), new(part))
			wantErr(t, err, verticle.ErrUndeployed)
			time.Sleep(time.Second / 2)
			synctest.Wait()
			j.want(t, "stop b", "goroutine of b", "stop a", "goroutine of a", "start a", "start b")
			wantConsumer(t, eb, "a")
			wantConsumer(t, eb, "b")
			if d.ID() != id || isClosed(d.Done()) || d.Err() != nil {
				t.Errorf("ID %s, was %s; ended %v, %v; want the same deployment", d.ID(), id, isClosed(d.Done()), d.Err())
			}
		}
		undeploy(t, d)
	})
}

// TestWhatRestarts: failures do, answers and ends do not.
func TestWhatRestarts(t *testing.T) {
	t.Parallel()
	handler := func(f func() error, opts ...bus.ConsumeOption) func(context.Context, *verticle.Deployment) error {
		return func(_ context.Context, d *verticle.Deployment) error {
			_, err := d.Consume("act", bus.HandlerFunc(func(context.Context, *bus.Message) error { return f() }), opts...)
			return err
		}
	}
	soon := func(f func(context.Context) error) func(context.Context, *verticle.Deployment) error {
		return func(_ context.Context, d *verticle.Deployment) error {
			d.After(time.Second, f)
			return nil
		}
	}
	for _, tt := range []struct {
		name   string
		start  func(context.Context, *verticle.Deployment) error
		starts int
		text   string // of the failure
	}{
		{"go's error", func(_ context.Context, d *verticle.Deployment) error {
			d.Go(func(context.Context) error { time.Sleep(time.Second); return errTest })
			return nil
		}, 2, "go: of the test"},
		{"go's panic", func(_ context.Context, d *verticle.Deployment) error {
			d.Go(func(context.Context) error { time.Sleep(time.Second); panic("oh") })
			return nil
		}, 2, "go: verticle: panic: oh"},
		{"timer's error", soon(func(context.Context) error { return errTest }), 2, "after: of the test"},
		{"timer's panic", soon(func(context.Context) error { panic("oh") }), 2, "after: verticle: panic: oh"},
		{"child's failure", func(ctx context.Context, d *verticle.Deployment) error {
			_, err := d.Deploy(ctx, &part{start: soon(func(context.Context) error { return errTest })})
			return err
		}, 2, "after: of the test"},
		{"handler's panic", handler(func() error { panic("oh") }), 2, `handler of "act": verticle: panic: oh`},
		{"handler's end", handler(func() error { runtime.Goexit(); return nil }), 2, "runtime.Goexit"},
		{"panic beside the turn", handler(func() error { panic("oh") }, bus.WithConcurrency(2)), 2, `handler of "act": verticle: panic: oh`},
		{"handler's error", handler(func() error { return errTest }), 1, ""},
		{"child's undeployment", func(ctx context.Context, d *verticle.Deployment) error {
			child, err := d.Deploy(ctx, &part{stop: func(context.Context) error { return errTest }})
			d.Go(func(ctx context.Context) error { _ = child.Undeploy(ctx); return nil })
			return err
		}, 1, ""},
		{"child's failure to start", func(ctx context.Context, d *verticle.Deployment) error {
			_, err := d.Deploy(ctx, &part{start: func(context.Context, *verticle.Deployment) error { return errTest }})
			if err == nil {
				t.Error("no error")
			}
			return nil
		}, 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				starts := 0 // guarded by the turn
				var failures []error
				d := deploy(t, eb, &part{start: func(ctx context.Context, d *verticle.Deployment) error {
					if starts++; starts > 1 {
						return nil
					}
					return tt.start(ctx, d)
				}}, quick, verticle.WithEvents(func(e verticle.Event) {
					if f, ok := e.(verticle.Restarting); ok && len(f.Path) == 1 {
						failures = append(failures, f.Err)
					}
				}))
				_ = eb.Send(t.Context(), "act", nil) // some have no handler
				time.Sleep(time.Minute)
				undeploy(t, d)
				if starts != tt.starts || len(failures) != tt.starts-1 {
					t.Fatalf("%d starts, failures %v; want %d", starts, failures, tt.starts)
				}
				if len(failures) > 0 && !strings.Contains(failures[0].Error(), tt.text) {
					t.Errorf("failure %v; want %q in it", failures[0], tt.text)
				}
			})
		})
	}
}

// TestRestartNotAtDeploy: the error of the first Start is Deploy's.
func TestRestartNotAtDeploy(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		starts := 0
		for name, end := range map[string]func(*verticle.Deployment) error{
			"error": func(*verticle.Deployment) error { return errTest },
			"panic": func(*verticle.Deployment) error { panic(errTest) },
			"go": func(d *verticle.Deployment) error {
				d.Go(func(context.Context) error { return errTest })
				synctest.Wait()
				return nil
			},
		} {
			starts = 0
			_, err := verticle.Deploy(t.Context(), eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
				starts++
				return end(d)
			}}, verticle.WithLogger(quiet), quick)
			wantErr(t, err, errTest)
			time.Sleep(time.Hour)
			if starts != 1 {
				t.Errorf("%s: %d starts; want 1", name, starts)
			}
		}
	})
}

// TestRestartGivesUp: pauses double, each varied by half, up to the most; the
// failure after the last restart is the deployment's, and its parent's.
func TestRestartGivesUp(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		parent := deploy(t, eb, new(part))
		var starts []time.Time // guarded by the turn
		last := errors.New("the last one")
		d, err := parent.Deploy(t.Context(), &part{start: func(_ context.Context, d *verticle.Deployment) error {
			switch starts = append(starts, time.Now()); len(starts) {
			case 1:
				d.After(0, func(context.Context) error { return errTest })
				return nil
			case 7:
				return last
			}
			return errTest
		}}, verticle.WithRestart(verticle.Restart{Max: 6, Window: time.Hour, Delay: time.Second, MaxDelay: 10 * time.Second}))
		if err != nil {
			t.Fatal(err)
		}
		<-d.Done()
		if len(starts) != 7 {
			t.Fatalf("%d starts; want 7", len(starts))
		}
		for i, pause := range []time.Duration{1, 2, 4, 8, 10, 10} {
			got := starts[i+1].Sub(starts[i])
			if pause *= time.Second; got < pause/2 || got > min(pause*3/2, 10*time.Second) {
				t.Errorf("pause %d: %v; want %v, varied by half", i, got, pause)
			}
		}
		<-parent.Done()
		for _, err := range []error{d.Err(), parent.Err()} {
			wantErr(t, err, last)
			if errors.Is(err, errTest) || !strings.Contains(err.Error(), "start: the last one; "+d.ID()+" was given up after 6 restarts within 1h0m0s") {
				t.Errorf("error %v; want the last one alone, and why it is the last", err)
			}
		}
	})
}

// TestRestartWindow: restarts count for as long as the window; after as long
// without a failure the pauses begin anew.
func TestRestartWindow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		v := newFailing(t, &j, eb, "a")
		d := deploy(t, eb, v, verticle.WithRestart(verticle.Restart{Max: 2, Window: time.Minute, Delay: time.Second, MaxDelay: time.Hour}))
		for range 10 {
			for _, most := range []time.Duration{3 * time.Second / 2, 3 * time.Second} {
				v.fail <- errTest
				time.Sleep(most)
				wantConsumer(t, eb, "a")
			}
			time.Sleep(time.Minute)
		}
		for range 2 {
			v.fail <- errTest
			time.Sleep(3 * time.Second)
			wantConsumer(t, eb, "a")
		}
		v.fail <- errTest
		<-d.Done()
		wantErr(t, d.Err(), errTest)
	})
}

// TestChildRestartsAlone: its parent and siblings do not notice.
func TestChildRestartsAlone(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		v := newFailing(t, &j, eb, "child")
		d := deploy(t, eb, noting(t, &j, eb, "parent", noting(t, &j, eb, "sibling")))
		if _, err := d.Deploy(t.Context(), v, quick); err != nil {
			t.Fatal(err)
		}
		v.fail <- errTest
		time.Sleep(time.Second)
		j.want(t, "start parent", "start sibling", "start child", "stop child", "goroutine of child", "start child")
		undeploy(t, d)
	})
}

// TestPanicHidesItsRemains: no handler sees what a panic has left of the fields
// before Start has seen it; what waits is handled then.
func TestPanicHidesItsRemains(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		whole, handled := false, 0 // guarded by the turn
		d := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			whole = true
			for _, a := range []string{"a", "b"} {
				_, err := d.Consume(a, bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
					if !whole {
						t.Error("handled in pieces")
					}
					if len(m.Body) > 0 {
						time.Sleep(time.Second) // others come meanwhile
						whole = false
						panic("oh")
					}
					handled++
					return nil
				}))
				if err != nil {
					return err
				}
			}
			return nil
		}}, quick)
		asked := make(chan error, 1)
		go func() { _, err := eb.Request(t.Context(), "a", "panic"); asked <- err }()
		synctest.Wait()
		for range 10 {
			for _, a := range []string{"a", "b"} {
				if err := eb.Send(t.Context(), a, nil); err != nil {
					t.Error(err)
				}
			}
		}
		if e := new(bus.ReplyError); !errors.As(<-asked, &e) || e.Code != bus.CodePanic {
			t.Errorf("answer %v; want CodePanic", e)
		}
		time.Sleep(time.Second)
		undeploy(t, d)
		if handled != 20 {
			t.Errorf("%d handled; want what was sent, 20", handled)
		}
	})
}

// TestTimersPanicHidesItsRemains, too, and its end, while the children take theirs.
func TestTimersPanicHidesItsRemains(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(){"panic": func() { panic("oh") }, "runtime.Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				whole, handled, starts := false, 0, 0 // guarded by the turn
				d := deploy(t, eb, &part{start: func(ctx context.Context, d *verticle.Deployment) error {
					whole = true
					if starts++; starts == 1 {
						d.After(time.Second, func(context.Context) error {
							time.Sleep(time.Second) // others come meanwhile
							whole = false
							end()
							return nil
						})
					}
					if _, err := d.Consume("a", bus.HandlerFunc(func(context.Context, *bus.Message) error {
						if !whole {
							t.Error("handled in pieces")
						}
						handled++
						return nil
					})); err != nil {
						return err
					}
					_, err := d.Deploy(ctx, &part{stop: func(context.Context) error { time.Sleep(time.Second); return nil }})
					return err
				}}, quick)
				time.Sleep(1500 * time.Millisecond)
				for range 10 {
					if err := eb.Send(t.Context(), "a", nil); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(time.Minute)
				undeploy(t, d)
				if handled != 10 || starts != 2 {
					t.Errorf("%d handled, %d starts; want what was sent, 10, and one restart", handled, starts)
				}
			})
		})
	}
}

// TestRestartElsewhere: meanwhile other nodes get the messages.
func TestRestartElsewhere(t *testing.T) {
	t.Parallel()
	clustered(t, 2, func(t *testing.T, c *bustest.Cluster) {
		var j journal
		v := &failing{consumes("a"), make(chan error)}
		on0, on1 := deploy(t, c.Bus(0), v, quick), deploy(t, c.Bus(1), consumes("a"))
		for n := range 5 {
			v.fail <- errTest
			synctest.Wait()
			for range 20 {
				wantConsumer(t, c.Bus(0), "a")
				wantConsumer(t, c.Bus(1), "a")
			}
			time.Sleep(time.Second)
			j.add(fmt.Sprint("restart ", n))
		}
		undeploy(t, on1)
		wantConsumer(t, c.Bus(1), "a")
		undeploy(t, on0)
	})
}

func TestRestartRefuses(t *testing.T) {
	t.Parallel()
	for text, r := range map[string]verticle.Restart{
		"a Max of -1;":        {Max: -1},
		"a Window of -1ns;":   {Window: -1},
		"a Delay of -1s;":     {Delay: -time.Second},
		"a MaxDelay of -1ns;": {MaxDelay: -1},
		"Delay of 1m0s over ": {Delay: time.Minute, MaxDelay: time.Second},
	} {
		_, err := verticle.Deploy(t.Context(), bus.New(), new(part), verticle.WithRestart(r))
		if err == nil || !strings.Contains(err.Error(), "WithRestart") || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v; want %q", r, err, text)
		}
	}
}

// TestLongestPause is one, too.
func TestLongestPause(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		for range 20 { // pauses are varied
			starts := 0
			d := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
				starts++
				d.After(1, func(context.Context) error { return errTest })
				return nil
			}}, verticle.WithRestart(verticle.Restart{Delay: math.MaxInt64}))
			time.Sleep(time.Hour)
			if starts != 1 {
				t.Errorf("%d starts within the pause; want 1", starts)
			}
			undeploy(t, d)
		}
	})
}
