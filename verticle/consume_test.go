package verticle_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// TestConcurrencyLeavesTurn: so many run at once while others have the turn,
// and are announced with the rest.
func TestConcurrencyLeavesTurn(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		const n = 4
		handled := 0 // guarded by the turn
		d := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			_, err := d.Consume("work", bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error {
				time.Sleep(time.Second)
				return d.EventBus().Do(ctx, func(context.Context) error { handled++; return nil })
			}), bus.WithConcurrency(n))
			if err != nil {
				return err
			}
			time.Sleep(time.Second)
			wantNoConsumer(t, eb, "work")
			_, err = d.Consume("quick", echo)
			return err
		}})
		began := time.Now()
		for range 2 * n {
			if err := eb.Send(t.Context(), "work", nil); err != nil {
				t.Error(err)
			}
		}
		wantConsumer(t, eb, "quick")
		if took := time.Since(began); took != 0 {
			t.Errorf("the turn was held for %v", took)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		undeploy(t, d)
		if took := time.Since(began); handled != 2*n || took != 2*time.Second {
			t.Errorf("%d handled in %v; want %d in 2 s", handled, took, 2*n)
		}
	})
}

// TestUndeployAwaitsConcurrent: all that run, before Stop.
func TestUndeployAwaitsConcurrent(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		d := deploy(t, eb, &part{
			start: func(_ context.Context, d *verticle.Deployment) error {
				_, err := d.Consume("work", bus.HandlerFunc(func(context.Context, *bus.Message) error {
					time.Sleep(time.Second)
					j.add("handled")
					return nil
				}), bus.WithConcurrency(3))
				return err
			},
			stop: func(context.Context) error { j.add("stopped"); return nil },
		})
		for range 3 {
			if err := eb.Send(t.Context(), "work", nil); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		undeploy(t, d)
		j.want(t, "handled", "handled", "handled", "stopped")
	})
}

// TestStuckBesideTurn: each handler that is stuck is named, of those in the turn
// the one; Stop is called if none has the turn.
func TestStuckBesideTurn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		inTurn   bool // one is stuck there too
		stopped  bool
		want, no []string
	}{
		{"beside", false, true, []string{`handler of "one"`, `handler of "two"`}, []string{"idle", "not called"}},
		{"both", true, false, []string{`handler of "one"`, `handler of "two"`, `handler of "turn"`, "stop: not called"}, []string{"idle"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				stopped := false
				release := make(chan struct{})
				stuck := bus.HandlerFunc(func(context.Context, *bus.Message) error { <-release; return nil })
				d := deploy(t, eb, &part{
					start: func(_ context.Context, d *verticle.Deployment) error {
						if _, err := d.Consume("one", stuck, bus.WithConcurrency(2)); err != nil {
							return err
						}
						for _, a := range []string{"turn", "idle"} {
							if _, err := d.Consume(a, stuck); err != nil {
								return err
							}
						}
						_, err := d.Consume("two", stuck, bus.WithConcurrency(2))
						return err
					},
					stop: func(context.Context) error { stopped = true; return nil },
				})
				send := []string{"one", "two"}
				if tt.inTurn {
					send = append(send, "turn")
				}
				for _, a := range send {
					if err := eb.Send(t.Context(), a, nil); err != nil {
						t.Error(err)
					}
				}
				synctest.Wait()
				err := d.Undeploy(context.Background())
				if err == nil {
					t.Fatal("no error")
				}
				for _, want := range tt.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error %v; want %q in it", err, want)
					}
				}
				for _, no := range tt.no {
					if strings.Contains(err.Error(), no) {
						t.Errorf("error %v; want it without %q", err, no)
					}
				}
				if stopped != tt.stopped {
					t.Errorf("stopped: %v", stopped)
				}
				close(release)
				synctest.Wait()
			})
		})
	}
}

// TestUndeployBesideTurn: a handler beside the turn, of the deployment or of a
// child, does not wait for itself either.
func TestUndeployBesideTurn(t *testing.T) {
	t.Parallel()
	for _, restart := range [][]verticle.Option{nil, {quick}} {
		for _, whose := range []string{"own", "parent's"} {
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				parent := deploy(t, eb, new(part))
				target := parent
				d, err := parent.Deploy(t.Context(), &part{start: func(_ context.Context, d *verticle.Deployment) error {
					if whose == "own" {
						target = d
					}
					_, err := d.Consume("end", bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error {
						return target.Undeploy(ctx)
					}), bus.WithConcurrency(2))
					return err
				}}, restart...)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				if _, err := eb.Request(t.Context(), "end", nil); err != nil {
					t.Error(err)
				}
				<-d.Done()
				if took := time.Since(began); took != 0 || d.Err() != nil {
					t.Errorf("%s: %v after %v; want an end at once", whose, d.Err(), took)
				}
				undeploy(t, parent)
			})
		}
	}
}

// TestOneTurnEach: Start, Stop, handlers, timers and what takes the turn by Do
// see one turn, and another instance has another.
func TestOneTurnEach(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var mu sync.Mutex
		together, most := 0, 0
		instance := func() verticle.Verticle {
			inside := 0 // guarded by the turn
			turn := func() {
				if inside++; inside > 1 {
					t.Error("two have the turn of one instance")
				}
				mu.Lock()
				together++
				most = max(most, together)
				mu.Unlock()
				time.Sleep(100 * time.Millisecond)
				mu.Lock()
				together--
				mu.Unlock()
				inside--
			}
			return &part{
				start: func(_ context.Context, d *verticle.Deployment) error {
					turn()
					d.Every(100*time.Millisecond, func(context.Context) error { turn(); return nil })
					d.Go(func(ctx context.Context) error {
						for ctx.Err() == nil {
							if err := d.EventBus().Do(ctx, func(context.Context) error { turn(); return nil }); err != nil {
								return err
							}
						}
						return ctx.Err()
					})
					_, err := d.Consume("a", bus.HandlerFunc(func(context.Context, *bus.Message) error { turn(); return nil }))
					return err
				},
				stop: func(context.Context) error { turn(); return nil },
			}
		}
		d := deploy(t, eb, verticle.Instances(3, instance))
		for range 12 {
			if err := eb.Send(t.Context(), "a", nil); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		undeploy(t, d)
		mu.Lock()
		defer mu.Unlock()
		if most != 3 {
			t.Errorf("%d turns at once; want 3", most)
		}
	})
}

// A verticle's consumer that hears publishes only takes none of what is sent, and hears
// nothing once the deployment has ended.
func TestPublishedOnly(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var heard []string // guarded by the turn
		d := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) error {
			_, err := d.Consume("a", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
				heard = append(heard, m.Verb())
				return nil
			}), bus.PublishedOnly())
			return err
		}})
		if err := eb.Send(t.Context(), "a", nil); !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("sent: %v", err)
		}
		for range 2 {
			if err := eb.Publish(t.Context(), "a", nil); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			undeploy(t, d)
		}
		if len(heard) != 1 || heard[0] != bus.VerbPublish {
			t.Errorf("heard %q", heard)
		}
	})
}

// TestConsumerOfItsOwn: a verticle pauses, resumes and closes what it has registered,
// and closed consumers are not kept.
func TestConsumerOfItsOwn(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var c *bus.Consumer
		handled := 0
		d := deploy(t, eb, &part{start: func(_ context.Context, d *verticle.Deployment) (err error) {
			c, err = d.Consume("a", bus.Receive(func(context.Context, int) error { handled++; return nil }))
			c.Pause()
			return err
		}})
		if err := eb.Send(t.Context(), "a", 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if handled != 0 {
			t.Error("a paused consumer handles")
		}
		c.Resume()
		synctest.Wait()
		if handled != 1 {
			t.Errorf("%d handled after Resume, want 1", handled)
		}
		for range 100 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if list := verticle.Inspect(eb)[0].Consumers; len(list) != 0 {
				t.Fatalf("consumes at %v after Close", list)
			}
			var err error
			if c, err = d.Consume("a", echo); err != nil {
				t.Fatal(err)
			}
		}
		if n := verticle.Kept(d); n > 2 {
			t.Errorf("%d consumers are kept, of which one is open", n)
		}
		undeploy(t, d)
		wantNoConsumer(t, eb, "a")
	})
}
