package verticle_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// fragile is a verticle of the stress test: each of its lives fails in some way
// at some moment, to start too.
type fragile struct {
	eb      *bus.EventBus
	address string

	r             *rand.Rand // guarded by the turn, with the rest
	starts, stops int
	refused       int // Starts that failed
}

func (f *fragile) Start(ctx context.Context, d *verticle.Deployment) error {
	f.starts++
	err := f.start(ctx, d)
	if err != nil {
		f.refused++
	}
	return err
}

func (f *fragile) start(ctx context.Context, d *verticle.Deployment) error {
	how, soon := f.r.IntN(7), time.Duration(f.r.IntN(2000))*time.Microsecond
	d.Every(100*time.Microsecond, func(context.Context) error { f.r.IntN(2); return nil })
	d.Go(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	_, err := d.Consume(f.address, bus.HandlerFunc(func(context.Context, *bus.Message) error {
		if how == 0 && f.r.IntN(3) == 0 {
			panic("of the test")
		}
		return nil
	}))
	if err != nil {
		return err
	}
	_, err = d.Consume(f.address+".beside", bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error {
		return d.EventBus().Do(ctx, func(context.Context) error { f.r.IntN(2); return nil })
	}), bus.WithConcurrency(2))
	if err != nil {
		return err
	}
	child := verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		if how == 1 {
			d.After(soon, func(context.Context) error { return errTest })
		}
		_, err := d.Consume(f.address+".child", echo)
		return err
	})
	if _, err := d.Deploy(ctx, verticle.Instances(2, func() verticle.Verticle { return child })); err != nil {
		return err
	}
	switch how {
	case 2:
		d.Go(func(context.Context) error { time.Sleep(soon); return errTest })
	case 3:
		d.After(soon, func(context.Context) error { panic("of the test") })
	case 4:
		d.After(soon, func(context.Context) error { return errTest })
		time.Sleep(soon)
	case 5:
		if f.starts > 1 {
			return errTest
		}
	}
	return nil
}

func (f *fragile) Stop(context.Context) error { f.stops++; return nil }

// live deploys it, sends it messages, and ends it at some moment.
func (f *fragile) live(t *testing.T, r *rand.Rand, d func(...verticle.Option) (*verticle.Deployment, error)) {
	var started, stopped, restarting int
	events := verticle.WithEvents(func(e verticle.Event) {
		if isChild := len(pathOf(e)) > 1; isChild {
			return
		}
		switch e.(type) {
		case verticle.Started:
			started++
		case verticle.Restarting:
			restarting++
		case verticle.Stopped:
			stopped++
		}
	})
	dep, err := d(events, verticle.WithLogger(quiet), verticle.WithRestart(verticle.Restart{Max: 1 + r.IntN(20), Delay: time.Millisecond}))
	if err != nil {
		t.Error(err)
		return
	}
	var wg sync.WaitGroup
	for range 2 {
		pause := time.Duration(r.IntN(20000)) * time.Microsecond
		wg.Go(func() {
			time.Sleep(pause)
			_ = dep.Undeploy(context.Background()) // it may have been given up
		})
	}
	for !isClosed(dep.Done()) {
		for _, a := range []string{f.address, f.address + ".beside", f.address + ".child"} {
			if err := f.eb.Send(t.Context(), a, nil); err != nil && !errors.Is(err, bus.ErrNoConsumer) {
				t.Error(err)
			}
		}
		time.Sleep(100 * time.Microsecond)
	}
	wg.Wait()
	// A life that is to end while it starts is stopped, but not Started.
	if f.stops != f.starts-f.refused || started > f.stops || stopped != 1 || restarting < f.starts-1 {
		t.Errorf("%d starts, %d of them refused, %d stops; events: %d started, %d restarting, %d stopped",
			f.starts, f.refused, f.stops, started, restarting, stopped)
	}
	for _, a := range []string{"", ".beside", ".child"} {
		wantNoConsumer(t, f.eb, f.address+a)
	}
}

func pathOf(e verticle.Event) []string {
	switch e := e.(type) {
	case verticle.Started:
		return e.Path
	case verticle.Failed:
		return e.Path
	case verticle.Restarting:
		return e.Path
	case verticle.Stopped:
		return e.Path
	}
	return nil
}

// TestRestartStress lives many lives that fail and are restarted, by several
// goroutines on one bus.
func TestRestartStress(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var wg sync.WaitGroup
		for g := range 10 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(2, uint64(g)))
				f := &fragile{eb: eb, address: fmt.Sprint("fragile.", g)}
				for i := range 50 {
					f.starts, f.stops, f.refused = 0, 0, 0
					f.r = rand.New(rand.NewPCG(uint64(i), uint64(g)))
					f.live(t, r, func(opts ...verticle.Option) (*verticle.Deployment, error) {
						return verticle.Deploy(t.Context(), eb, f, opts...)
					})
				}
			})
		}
		wg.Wait()
	})
}
