package verticle

import (
	"errors"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// State is where a deployment is between its start and its end.
type State string

// The states of a deployment.
const (
	StateStarting   State = "starting"   // Start runs, for the first time or after a failure
	StateRunning    State = "running"    // Start has returned nil
	StateRestarting State = "restarting" // it has failed: it is undone, or waits to be started again
	StateStopping   State = "stopping"   // it is undone, and nothing follows
	StateFailed     State = "failed"     // it has ended by a failure
)

// Info is what a deployment is like at one moment.
type Info struct {
	ID     string // of the Deployment
	Name   string
	Parent string // ID of the deployment that it is a child of; "" if there is none
	State  State

	Deployed  time.Time // when Deploy was called
	Since     time.Time // when Start returned nil the last time; zero before
	Consumers []string  // the addresses at which it consumes now, in order
	Restarts  int       // how often it was restarted

	Failure  error         // the last failure, of which the restarts were; nil if there was none
	FailedAt time.Time     // when
	Stack    string        // of its panic; "" if it was none
	Busy     time.Duration // for how long its turn has been held: see [bus.EventBus.Busy]
}

// keptFailed is how many deployments that have failed are still told of.
const keptFailed = 32

// Inspect returns what is deployed on the bus, in whichever scope of it, and of those
// that have ended by a failure the last 32. Parents come before their children, and
// else the older before the younger. It costs nothing while nobody asks.
func Inspect(eb *bus.EventBus) []Info {
	r := registryOf(eb)
	r.mu.Lock()
	all := make([]*Deployment, 0, len(r.live))
	for d := range r.live {
		all = append(all, d)
	}
	infos := slices.Clone(r.failed)
	r.mu.Unlock()
	for _, d := range all {
		infos = append(infos, d.info())
	}
	slices.SortFunc(infos, func(a, b Info) int {
		if c := a.Deployed.Compare(b.Deployed); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return infos
}

// A registry knows the deployments of a bus, which keeps it.
type registry struct {
	mu     sync.Mutex
	live   map[*Deployment]struct{}
	failed []Info // those that have ended, the oldest first
}

type registryKey struct{}

func registryOf(eb *bus.EventBus) *registry {
	return eb.Keep(registryKey{}, func() any { return &registry{live: map[*Deployment]struct{}{}} }).(*registry)
}

// enter notes a deployment that is about to start.
func (r *registry) enter(d *Deployment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[d] = struct{}{}
}

// leave forgets a deployment that has ended, unless a failure has ended it.
func (r *registry) leave(d *Deployment) {
	info := d.info()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, d)
	if info.State != StateFailed {
		return
	}
	if len(r.failed) == keptFailed {
		r.failed = slices.Delete(r.failed, 0, 1)
	}
	r.failed = append(r.failed, info)
}

// info tells what the deployment is like now.
func (d *Deployment) info() Info {
	busy := d.eb.Busy()
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.life
	i := Info{
		ID: d.id, Name: d.name, State: d.stateLocked(),
		Deployed: d.deployed, Since: l.since, Restarts: d.restarts(),
		Failure: d.failure, FailedAt: d.failedAt, Busy: busy,
	}
	if d.parent != nil {
		i.Parent = d.parent.id
	}
	if errors.Is(d.failure, ErrPanic) {
		i.Stack = d.stack
	}
	for _, c := range l.consumers {
		if !d.ended && !l.isEnding() && !c.over() {
			i.Consumers = append(i.Consumers, c.Address())
		}
	}
	slices.Sort(i.Consumers)
	return i
}

func (d *Deployment) stateLocked() State {
	l := d.life
	switch {
	case d.ended && l.cause > 0:
		return StateFailed
	case l.isEnding() && l.restart != nil && d.over.Err() == nil:
		return StateRestarting
	case l.isEnding():
		return StateStopping
	case l.since.IsZero():
		return StateStarting
	}
	return StateRunning
}

// failedLocked notes a failure, for [Inspect].
func (d *Deployment) failedLocked(err error) { d.failure, d.failedAt = err, time.Now() }

// keepStack keeps the stack of a panic, for [Inspect], and returns it. It is called
// where the panic is recovered.
func (d *Deployment) keepStack() string {
	stack := string(debug.Stack())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stack = stack
	return stack
}
