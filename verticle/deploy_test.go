package verticle_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

func TestDeployRefuses(t *testing.T) {
	t.Parallel()
	eb, closed := bus.New(), bus.New()
	closed.Close()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	ok := verticle.Func(func(context.Context, *verticle.Deployment) error { return nil })
	for _, tt := range []struct {
		name string
		ctx  context.Context
		eb   *bus.EventBus
		v    verticle.Verticle
		opt  verticle.Option
		want string
		is   error
	}{
		{name: "nil bus", v: ok, want: "nil bus"},
		{name: "nil verticle", eb: eb, want: "nil Verticle"},
		{name: "nil pointer", eb: eb, v: (*part)(nil), want: "nil *verticle_test.part"},
		{name: "nil func", eb: eb, v: verticle.Func(nil), want: "nil verticle.Func"},
		{name: "empty name", eb: eb, v: ok, opt: verticle.WithName(""), want: "WithName"},
		{name: "nil logger", eb: eb, v: ok, opt: verticle.WithLogger(nil), want: "WithLogger"},
		{name: "context over", ctx: over, eb: eb, v: ok, want: "deploy", is: context.Canceled},
		{name: "bus closed", eb: closed, v: ok, want: "deploy", is: bus.ErrClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.ctx == nil {
				tt.ctx = t.Context()
			}
			opts := []verticle.Option{verticle.WithLogger(quiet)}
			if tt.opt != nil {
				opts = append(opts, tt.opt)
			}
			d, err := verticle.Deploy(tt.ctx, tt.eb, tt.v, opts...)
			if d != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v; want an error with %q", d, err, tt.want)
			}
			if tt.is != nil {
				wantErr(t, err, tt.is)
			}
		})
	}
	t.Run("nil option", func(t *testing.T) {
		t.Parallel()
		if _, err := verticle.Deploy(t.Context(), eb, ok, nil); err == nil || !strings.Contains(err.Error(), "nil Option") {
			t.Errorf("%v; want nil Option", err)
		}
	})
}

// stateless has no fields: pointers to it may be equal.
type stateless struct{}

func (*stateless) Start(context.Context, *verticle.Deployment) error { return nil }
func (*stateless) Stop(context.Context) error                        { return nil }

func TestDeployTwice(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		v := new(part)
		d := deploy(t, eb, v)
		for range 2 { // the failure leaves the first deployment's claim alone
			_, err := d.Deploy(t.Context(), v)
			wantErr(t, err, verticle.ErrDeployed)
			if !strings.Contains(err.Error(), d.ID()) {
				t.Errorf("%v; want it to name %s", err, d.ID())
			}
		}
		wantErr(t, verticle.Run(t.Context(), eb, v, v), verticle.ErrDeployed)
		undeploy(t, d)

		d = deploy(t, eb, v) // and once more
		undeploy(t, d)

		f := verticle.Func(v.Start)
		for _, pair := range [][2]verticle.Verticle{{f, f}, {&stateless{}, &stateless{}}} {
			a, b := deploy(t, eb, pair[0]), deploy(t, eb, pair[1])
			if a.ID() == b.ID() {
				t.Errorf("two deployments with ID %s", a.ID())
			}
			undeploy(t, a)
			undeploy(t, b)
		}
	})
}

func TestNameAndLogger(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var text bytes.Buffer
		log := slog.New(slog.NewTextHandler(&text, nil))
		var child *verticle.Deployment
		d := deploy(t, eb, &part{start: func(ctx context.Context, d *verticle.Deployment) (err error) {
			child, err = d.Deploy(ctx, new(part))
			return err
		}}, verticle.WithName("parent"), verticle.WithLogger(log))
		if !strings.HasPrefix(d.ID(), "parent-") || !strings.HasPrefix(child.ID(), "verticle_test.part-") {
			t.Errorf("IDs %s and %s; want the names parent and verticle_test.part", d.ID(), child.ID())
		}
		child.Logger().Info("hello")
		if got := text.String(); !strings.Contains(got, " verticle=verticle_test.part deployment="+child.ID()) || strings.Contains(got, "parent") {
			t.Errorf("log %q; want the child's attributes, by the parent's logger", got)
		}
		undeploy(t, d)
	})
}

// TestStartHoldsTurn: no message reaches a consumer before Start has returned.
func TestStartHoldsTurn(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		ready := false // unguarded: the turn orders it
		d := deploy(t, eb, &part{start: func(ctx context.Context, d *verticle.Deployment) error {
			_, err := d.Consume("a", bus.Respond(func(context.Context, string) (bool, error) { return ready, nil }))
			wantNoConsumer(t, eb, "a")
			time.Sleep(time.Second)
			wantNoConsumer(t, eb, "a")
			ready = true
			return err
		}})
		if ok, err := bus.Request[bool](t.Context(), eb, "a", ""); !ok || err != nil {
			t.Errorf("%v, %v; want that Start had returned", ok, err)
		}
		undeploy(t, d)
		wantNoConsumer(t, eb, "a")
	})
}

// TestHandlersTakeTurns: neither do two handlers run at once, nor a handler and
// what takes the turn in a function of Go.
func TestHandlersTakeTurns(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var inside, count int // unguarded
		turn := func(context.Context) error {
			if inside++; inside > 1 {
				t.Error("two have the turn")
			}
			time.Sleep(time.Millisecond)
			inside--
			count++
			return nil
		}
		d := deploy(t, eb, &part{
			start: func(_ context.Context, d *verticle.Deployment) error {
				for _, a := range []string{"a", "b"} {
					_, err := d.Consume(a, bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error { return turn(ctx) }))
					if err != nil {
						return err
					}
				}
				d.Go(func(ctx context.Context) error {
					for range 20 {
						if err := d.EventBus().Do(ctx, turn); err != nil {
							return err
						}
					}
					return nil
				})
				return nil
			},
		})
		for range 20 {
			for _, a := range []string{"a", "b"} {
				if err := eb.Send(t.Context(), a, nil); err != nil {
					t.Error(err)
				}
			}
		}
		time.Sleep(time.Second)
		undeploy(t, d)
		if count != 60 {
			t.Errorf("%d turns; want 60", count)
		}
	})
}

var errTest = errors.New("of the test")

func TestStartFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  func() error
		is   []error
		text string
	}{
		{"error", func() error { return errTest }, []error{errTest}, "start: of the test"},
		{"panic", func() error { panic("oh") }, []error{verticle.ErrPanic}, "start: verticle: panic: oh"},
		{"panic with an error", func() error { panic(errTest) }, []error{verticle.ErrPanic, errTest}, "of the test"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				var j journal
				var failed *verticle.Deployment
				child := &part{
					start: func(_ context.Context, d *verticle.Deployment) error {
						_, err := d.Consume("child", echo)
						return err
					},
					stop: func(context.Context) error { j.add("child stopped"); return nil },
				}
				v := &part{
					start: func(ctx context.Context, d *verticle.Deployment) error {
						failed = d
						if _, err := d.Consume("a", echo); err != nil {
							return err
						}
						d.Go(func(ctx context.Context) error {
							<-ctx.Done()
							time.Sleep(time.Second)
							j.add("goroutine ended")
							return ctx.Err()
						})
						if _, err := d.Deploy(ctx, child); err != nil {
							return err
						}
						wantConsumer(t, eb, "child")
						return tt.end()
					},
					stop: func(context.Context) error { j.add("stopped"); return nil },
				}
				d, err := verticle.Deploy(t.Context(), eb, v, verticle.WithLogger(quiet))
				if d != nil || err == nil || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("%v, %v; want an error with %q", d, err, tt.text)
				}
				for _, is := range tt.is {
					wantErr(t, err, is)
					wantErr(t, failed.Err(), is)
				}
				j.want(t, "child stopped", "goroutine ended")
				wantNoConsumer(t, eb, "a")
				wantNoConsumer(t, eb, "child")
				if !isClosed(failed.Done()) {
					t.Error("Done is not closed")
				}
				_, err = failed.Consume("a", echo)
				wantErr(t, err, verticle.ErrUndeployed)
				undeploy(t, deploy(t, eb, child))
			})
		})
	}
}

// TestPanicIsLogged: with its stack.
func TestPanicIsLogged(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var text bytes.Buffer
		v := &part{start: func(context.Context, *verticle.Deployment) error { panic("oh") }}
		_, err := verticle.Deploy(t.Context(), eb, v, verticle.WithLogger(slog.New(slog.NewTextHandler(&text, nil))))
		wantErr(t, err, verticle.ErrPanic)
		if got := text.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "deploy_test.go") {
			t.Errorf("log %q; want the stack", got)
		}
		if strings.Contains(err.Error(), ".go:") {
			t.Errorf("error %v; want no stack", err)
		}
	})
}

// TestDeployContext: it bounds Start, and not the deployment's life.
func TestDeployContext(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		goEnded := make(chan struct{})
		d, err := verticle.Deploy(ctx, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			d.Go(func(ctx context.Context) error {
				defer close(goEnded)
				<-ctx.Done()
				return ctx.Err()
			})
			_, err := d.Consume("a", echo)
			return err
		}})
		if err != nil {
			t.Fatal(err)
		}
		wait := &part{start: func(ctx context.Context, _ *verticle.Deployment) error { <-ctx.Done(); return ctx.Err() }}
		_, err = verticle.Deploy(ctx, eb, wait, verticle.WithLogger(quiet))
		wantErr(t, err, context.DeadlineExceeded)
		wantConsumer(t, eb, "a")
		if isClosed(goEnded) || isClosed(d.Done()) {
			t.Error("the deployment ended with the context of Deploy")
		}
		undeploy(t, d)
	})
}

// TestGoFailsWhileStarting: Start's context ends, and Deploy returns the cause.
func TestGoFailsWhileStarting(t *testing.T) {
	t.Parallel()
	for _, heeds := range []bool{true, false} {
		bubble(t, func(t *testing.T, eb *bus.EventBus) {
			var j journal
			parent := deploy(t, eb, new(part))
			_, err := parent.Deploy(t.Context(), &part{
				start: func(ctx context.Context, d *verticle.Deployment) error {
					d.Go(func(context.Context) error { return errTest })
					<-ctx.Done()
					if heeds {
						return ctx.Err()
					}
					_, err := d.Consume("a", echo)
					return err
				},
				stop: func(context.Context) error { j.add("stopped"); return nil },
			})
			wantErr(t, err, errTest)
			wantNoConsumer(t, eb, "a")
			j.want(t)
			if isClosed(parent.Done()) {
				t.Error("the parent failed though Deploy had told it")
			}
			undeploy(t, parent)
		})
	}
}

// TestUndeployWhileStarting: what has started is stopped, and never announced.
func TestUndeployWhileStarting(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		_, err := verticle.Deploy(t.Context(), eb, &part{
			start: func(ctx context.Context, d *verticle.Deployment) error {
				if _, err := d.Consume("a", echo); err != nil {
					return err
				}
				go func() { undeploy(t, d); j.add("undeployed") }()
				<-ctx.Done()
				return nil
			},
			stop: func(context.Context) error { j.add("stopped"); return nil },
		}, verticle.WithLogger(quiet))
		wantErr(t, err, verticle.ErrUndeployed)
		synctest.Wait()
		j.want(t, "stopped", "undeployed")
		wantNoConsumer(t, eb, "a")
	})
}

// TestConsumeFails: what the bus refuses is refused, with the address.
func TestConsumeFails(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		for _, restart := range [][]verticle.Option{nil, {verticle.WithRestart(verticle.Restart{})}} {
			for h, opt := range map[bus.Handler]bus.ConsumeOption{&noHandler{}: bus.WithConcurrency(0), nil: bus.LocalOnly()} {
				_, err := verticle.Deploy(t.Context(), eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
					_, err := d.Consume("refused", h, opt)
					return err
				}}, append(restart, verticle.WithLogger(quiet))...)
				if err == nil || !strings.Contains(err.Error(), `"refused"`) {
					t.Errorf("%v; want an error with the address", err)
				}
			}
		}
	})
}

// noHandler is never called.
type noHandler struct{}

func (*noHandler) Handle(context.Context, *bus.Message) error { return nil }
