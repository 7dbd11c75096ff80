package verticle

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle/internal/guard"
)

// A Deployment is a verticle that runs. It owns what the verticle makes through
// it: consumers, timers, goroutines and children, which end with it, and before
// it is started again ([WithRestart]). Its methods may be called from several
// goroutines.
type Deployment struct {
	id          string
	name        string
	deployed    time.Time
	path        []string // IDs, from the root's on
	verticle    Verticle
	parent      *Deployment
	within      *life         // of the parent
	claims      *claims       // of the whole tree
	eb          *bus.EventBus // the deployment's scope
	base        *slog.Logger  // without the deployment's attributes
	logger      *slog.Logger  // for the verticle
	log         *slog.Logger  // the same, guarded
	supervision *supervision  // nil: nothing is restarted
	watchers    []*watcher    // from the root's on

	over   context.Context // ends when no life comes after the one that runs
	finish context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	life    *life       // the last one
	up      bool        // Deploy has succeeded, or will
	ended   bool        // all is over
	step    string      // what the undeployment waits for
	hurries *time.Timer // of an Undeploy while the last life was ending

	failure  error // the last one, in whichever life
	failedAt time.Time
	stack    string // of the last panic
}

func newDeployment(eb *bus.EventBus, parent *Deployment, v Verticle, c config) *Deployment {
	d := &Deployment{
		id:       newID(c.name),
		name:     c.name,
		deployed: time.Now(),
		verticle: v,
		parent:   parent,
		claims:   new(claims),
		eb:       eb.Scope(),
		base:     c.logger,
		done:     make(chan struct{}),
	}
	if parent != nil {
		d.claims = parent.claims
		d.path = parent.path
		d.watchers = parent.watchers
	}
	d.path = append(slices.Clip(d.path), d.id)
	if c.events != nil {
		d.watchers = append(slices.Clip(d.watchers), &watcher{f: c.events, log: guard.Logger(c.logger)})
	}
	if c.restart != nil {
		d.supervision = newSupervision(*c.restart)
	}
	d.logger = c.logger.With("verticle", c.name, "deployment", d.id)
	d.log = guard.Logger(d.logger)
	d.over, d.finish = context.WithCancel(context.Background())
	d.life = newLife(d)
	return d
}

func newID(name string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%s-%016x", name, binary.BigEndian.Uint64(b[:]))
}

// ID returns the deployment's name and a random number, which together are
// unique: a verticle that is deployed again gets another, one that is restarted
// keeps it.
func (d *Deployment) ID() string { return d.id }

// EventBus returns the bus in the deployment's scope. Messages sent through it
// are like any others. Its Do takes the deployment's turn, for a function of
// [Deployment.Go] that needs the verticle's fields; a handler has the turn, and
// must not call it. Consumers registered through it, rather than by
// [Deployment.Consume], take the turn but are not the deployment's own: whoever
// registers one closes it, in Stop at the latest.
func (d *Deployment) EventBus() *bus.EventBus { return d.eb }

// Logger returns the logger to use for what the verticle does. It has the
// attributes verticle, the name, and deployment, the ID.
func (d *Deployment) Logger() *slog.Logger { return d.logger }

// Done is closed when the deployment has ended: all that it owns has ended and
// Stop has returned, or the time for that was over. A restart does not close it.
func (d *Deployment) Done() <-chan struct{} { return d.done }

// Err returns nil while Done is not closed, and if the deployment was undeployed
// without an error. Else it returns why it ended, joined with what went wrong in
// ending it: [errors.Is] finds them all, and the text has the cause first.
// Failures that a restart has mended, or was to mend when the deployment was
// undeployed, are not in it.
func (d *Deployment) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		return nil
	}
	return join(d.life.errs)
}

// join is errors.Join, but one error stays as it is.
func join(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// current returns the life that runs, or else the last one.
func (d *Deployment) current() *life {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.life
}

// failed is err with the deployment and what it was at.
func (d *Deployment) failed(step string, err error) *failure {
	return &failure{id: d.id, step: step, err: err}
}

// protect calls f and makes a panic an error. That f ends the goroutine is for the
// caller to see; the log has it as well.
func (d *Deployment) protect(step string, f func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		err = errGoexit
		if p := recover(); p != nil {
			err = panicError(p)
		}
		d.log.Error("verticle panicked", "in", step, "err", err, "stack", d.keepStack())
	}()
	err = f()
	returned = true
	return err
}

// ownerKey is the key of the deployment whose Start, Stop, timer's or Go's
// function, or handler beside the turn, a context was given to.
type ownerKey struct{}

// mark returns a context that knows whose it is.
func (d *Deployment) mark(ctx context.Context) context.Context {
	return context.WithValue(ctx, ownerKey{}, d)
}
