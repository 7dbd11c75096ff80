package demo

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/examples/ecsdemo/leases"
	"github.com/runrig-go/runrig/verticle"
	"github.com/runrig-go/runrig/verticle/lease"
)

// leasesVariable is where a task finds what keeps leases: the table's name, or the
// URL of the rehearsal's. Where it is not set, no task counts health checks.
const leasesVariable = "RUNRIG_LEASES"

// OpenStore opens a store of leases by the name that RUNRIG_LEASES has.
type OpenStore func(ctx context.Context, name string) (lease.Store, error)

// openLeases returns the store that this process is told of, nil for none.
func openLeases(ctx context.Context, open OpenStore) (lease.Store, error) {
	name := os.Getenv(leasesVariable)
	switch {
	case name == "":
		return nil, nil
	case strings.HasPrefix(name, "http://"):
		return leases.Open(name), nil
	case open == nil:
		return nil, fmt.Errorf("%s is %q, and this build knows no tables: that of examples/ecsdemo/dynamodb does", leasesVariable, name)
	}
	return open(ctx, name)
}

// How often CounterVerticle tells what it has counted, and how long after a task has
// crashed another may count.
const (
	tellCount  = 5 * time.Second
	counterTTL = 5 * time.Second
)

// CounterVerticle counts the health checks of all tasks, by the greetings that they
// publish. All tasks deploy it as a singleton: one of them counts.
type CounterVerticle struct{ Local string }

// Start consumes, and tells now and then.
func (v *CounterVerticle) Start(ctx context.Context, d *verticle.Deployment) error {
	fence := lease.Fence(ctx)
	slog.Info("counting", "verticle", "CounterVerticle", "local", v.Local, "fence", fence)
	checks := uint64(0) // the handlers' and the timer's turn guards it
	_, err := d.Consume(broadcastAddress, bus.Receive(func(context.Context, greeting) error {
		checks++
		return nil
	}))
	if err != nil {
		return err
	}
	d.Every(tellCount, func(context.Context) error {
		slog.Info("counted", "verticle", "CounterVerticle", "local", v.Local, "fence", fence, "checks", checks)
		return nil
	})
	return nil
}

// Stop does nothing: the deployment closes its consumer.
func (v *CounterVerticle) Stop(context.Context) error { return nil }

// counter is the singleton. When it moves, it goes to a task of the newest revision.
func (t task) counter(store lease.Store, local string) verticle.Verticle {
	revision := ""
	if t.revision != nil {
		revision = t.revision()
	}
	return lease.Singleton(store, "ecsdemo.counter", &CounterVerticle{local}, lease.WithTTL(counterTTL), lease.WithRevision(revision))
}

// leases has the doctor read and write what keeps leases, if there is such a thing.
func (d *doctor) leases(open OpenStore) {
	if name := os.Getenv(leasesVariable); name != "" {
		d.say(tryLeases(d.ctx, open), "leases", "%s can be read and written", name)
	}
}

func tryLeases(ctx context.Context, open OpenStore) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	store, err := openLeases(ctx, open)
	if err != nil {
		return err
	}
	visits, err := lease.NewCounter(store, "ecsdemo.doctor")
	if err != nil {
		return err
	}
	_, err = visits.Add(ctx, 1)
	return err
}
