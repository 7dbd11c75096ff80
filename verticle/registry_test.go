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

// states are the names of deployments with their states, in the order of Inspect.
func states(eb *bus.EventBus) (all []string) {
	for _, i := range verticle.Inspect(eb) {
		all = append(all, i.Name+" "+string(i.State))
	}
	return all
}

func wantStates(t *testing.T, eb *bus.EventBus, want ...string) {
	t.Helper()
	if got := states(eb); !slices.Equal(got, want) {
		t.Errorf("deployed: %q, want %q", got, want)
	}
}

// TestInspect: what is deployed is told of while it is, with its parent, consumers and
// turn, and through any scope of the bus.
func TestInspect(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		wantStates(t, eb)
		child := verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
			_, err := d.Consume("b", bus.HandlerFunc(func(context.Context, *bus.Message) error { time.Sleep(3 * time.Second); return nil }))
			return err
		})
		d := deploy(t, eb, &part{start: func(ctx context.Context, d *verticle.Deployment) error {
			wantStates(t, eb, "parent starting")
			time.Sleep(time.Second)
			_, err := d.Deploy(ctx, child, verticle.WithName("child"))
			_, z := d.Consume("z", bus.Receive(func(context.Context, int) error { return nil }))
			_, a := d.Consume("a", bus.Receive(func(context.Context, int) error { return nil }))
			return errors.Join(err, z, a)
		}}, verticle.WithName("parent"))
		if _, err := eb.Request(t.Context(), "b", nil); err != nil {
			t.Fatal(err)
		}
		wantStates(t, eb.Scope(), "parent running", "child running")
		all := verticle.Inspect(eb)
		if p := all[0]; p.ID != d.ID() || p.Parent != "" || !slices.Equal(p.Consumers, []string{"a", "z"}) || p.Since.Sub(p.Deployed) < time.Second {
			t.Errorf("parent: %+v", p)
		}
		if c := all[1]; c.Parent != d.ID() || !slices.Equal(c.Consumers, []string{"b"}) || c.Busy < 3*time.Second || c.Busy > 3100*time.Millisecond {
			t.Errorf("child: %+v", c)
		}
		wantStates(t, bus.New())
		undeploy(t, d)
		wantStates(t, eb)
	})
}

// TestInspectFailures: failures are told of, with the stack of a panic, while the
// deployment restarts and, of some, after its end.
func TestInspectFailures(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		v := verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
			_, err := d.Consume("panics", bus.HandlerFunc(func(context.Context, *bus.Message) error { panic("no") }))
			return err
		})
		d := deploy(t, eb, v, verticle.WithName("v"), verticle.WithRestart(verticle.Restart{Delay: time.Minute, MaxDelay: time.Minute}))
		_, _ = eb.Request(t.Context(), "panics", nil)
		synctest.Wait()
		i := verticle.Inspect(eb)[0]
		if i.State != verticle.StateRestarting || i.Restarts != 1 || i.Consumers != nil || !errors.Is(i.Failure, verticle.ErrPanic) ||
			!strings.Contains(i.Stack, "registry_test.go") || i.FailedAt.IsZero() {
			t.Errorf("after the panic: %+v", i)
		}
		time.Sleep(2 * time.Minute)
		if i := verticle.Inspect(eb)[0]; i.State != verticle.StateRunning || i.Failure == nil {
			t.Errorf("restarted: %+v", i)
		}
		undeploy(t, d)
		wantStates(t, eb)

		for range 40 {
			d := deploy(t, eb, newFailing(t, new(journal), eb, "a"), verticle.WithName("f"))
			d.Go(func(context.Context) error { return errTest })
			<-d.Done()
		}
		all := verticle.Inspect(eb)
		if len(all) != 32 || all[0].State != verticle.StateFailed || !errors.Is(all[31].Failure, errTest) || all[31].Stack != "" {
			t.Errorf("%d deployments that have failed, %+v", len(all), all[0])
		}
	})
}
