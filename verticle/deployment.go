package verticle

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/runrig-go/runrig/bus"
)

// A Deployment is a verticle that runs. It owns what the verticle makes through
// it: consumers, goroutines and children, which end with it. Its methods may be
// called from several goroutines.
type Deployment struct {
	id       string
	verticle Verticle
	parent   *Deployment
	claims   *claims       // of the whole tree
	eb       *bus.EventBus // the deployment's scope
	base     *slog.Logger  // without the deployment's attributes
	log      *slog.Logger

	ending    context.Context // ends when the undeployment begins
	begin     context.CancelCauseFunc
	startDone chan struct{} // closed when Start is over
	done      chan struct{}

	mu         sync.Mutex
	started    bool // Start has returned nil
	up         bool // and Deploy has succeeded, or will
	stopPassed bool // the undeployment has come to Stop
	left       bool // it has left something behind that still runs
	ended      bool
	step       string // what the undeployment waits for
	errs       []error
	cause      int // how many of them were why the undeployment began
	children   []*Deployment
	consumers  []*bus.Consumer
	work       group

	// Set when the undeployment begins.
	time context.Context // ends when its time is over
	cut  context.CancelFunc
}

func newDeployment(eb *bus.EventBus, parent *Deployment, v Verticle, c config) *Deployment {
	d := &Deployment{
		id:        newID(c.name),
		verticle:  v,
		parent:    parent,
		eb:        eb.Scope(),
		base:      c.logger,
		startDone: make(chan struct{}),
		done:      make(chan struct{}),
	}
	if parent != nil {
		d.claims = parent.claims
	} else {
		d.claims = new(claims)
	}
	d.log = c.logger.With("verticle", c.name, "deployment", d.id)
	d.ending, d.begin = context.WithCancelCause(context.Background())
	d.work.init(d.mark(context.Background()))
	return d
}

func newID(name string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%s-%016x", name, binary.BigEndian.Uint64(b[:]))
}

// ID returns the deployment's name and a random number, which together are
// unique: a verticle that is deployed again gets another.
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
func (d *Deployment) Logger() *slog.Logger { return d.log }

// Done is closed when the deployment has ended: all that it owns has ended and
// Stop has returned, or the time for that was over.
func (d *Deployment) Done() <-chan struct{} { return d.done }

// Err returns nil while Done is not closed, and if the deployment was undeployed
// without an error. Else it returns why it ended, joined with what went wrong in
// ending it: [errors.Is] finds them all, and the text has the cause first.
func (d *Deployment) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.ended || len(d.errs) == 0:
		return nil
	case len(d.errs) == 1:
		return d.errs[0]
	}
	return errors.Join(d.errs...)
}

// Consume registers a handler at an address until the deployment ends; see
// [bus.EventBus.Consume] for its parameters and errors. In Start, the consumer
// is announced when Start has returned nil; later, at once, and then Consume
// does not wait for other nodes to know it. While a function of Go has the turn
// by Do, a consumer that anybody registers is announced at the end of that Do,
// and closed if it fails. The handler holds the deployment's turn while it runs,
// so that [bus.WithConcurrency] is an error. Consume fails with [ErrUndeployed]
// once the deployment is to end.
func (d *Deployment) Consume(address string, h bus.Handler, opts ...bus.ConsumeOption) error {
	d.mu.Lock() // also while registering: what is not in the list when the end begins never is
	defer d.mu.Unlock()
	if d.ending.Err() != nil {
		return d.failed(fmt.Sprintf("consume %q", address), ErrUndeployed)
	}
	c, err := d.eb.Consume(address, h, opts...)
	if err != nil {
		return d.failed(fmt.Sprintf("consume %q", address), err)
	}
	d.consumers = append(d.consumers, c)
	return nil
}

// adopt enters a child.
func (d *Deployment) adopt(child *Deployment) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ending.Err() != nil {
		return d.failed("deploy a child", ErrUndeployed)
	}
	d.children = append(d.children, child)
	return nil
}

// failed is err with the deployment and what it was at.
func (d *Deployment) failed(step string, err error) error { return &failure{d.id, step, err} }

// protect calls f and makes a panic an error.
func (d *Deployment) protect(step string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError(p)
			d.log.Error("verticle panicked", "in", step, "err", err, "stack", string(debug.Stack()))
		}
	}()
	return f()
}

// ownerKey is the key of the deployment whose Start, Stop or Go function a
// context was given to.
type ownerKey struct{}

// mark returns a context that knows whose it is.
func (d *Deployment) mark(ctx context.Context) context.Context {
	return context.WithValue(ctx, ownerKey{}, d)
}
