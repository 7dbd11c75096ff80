package verticle

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// knownWait is how long Deploy waits for the linked nodes to know the consumers.
const knownWait = time.Second

// Deploy starts a verticle on the bus: it calls Start, in the turn of a new
// scope, and then waits until the nodes that are linked know the consumers that
// Start registered. If they do not within a second, or before ctx ends, that is
// logged and no error.
//
// ctx bounds Start and the wait, never the life of the deployment, which ends by
// [Deployment.Undeploy], by a failure, or when the bus is closed; so somebody
// should look at its Done, or use [Run]. Deploy blocks for as long as Start
// does: a Start that does not heed its context cannot be ended.
//
// If Start fails, Deploy returns its error when what Start made is undone,
// which takes as long as an Undeploy at most; a panic is such an error too (see
// [ErrPanic]), and so is a failure of a goroutine or child while Start runs. A
// nil bus, verticle or option, a verticle that is deployed already in the same
// tree of deployments ([ErrDeployed]), and a bus that is closed
// ([bus.ErrClosed]) are errors at once.
func Deploy(ctx context.Context, eb *bus.EventBus, v Verticle, opts ...Option) (*Deployment, error) {
	if eb == nil {
		return nil, errors.New("verticle: nil bus")
	}
	return deploy(ctx, eb, nil, v, opts)
}

// Deploy deploys a child: a verticle with a turn of its own that is undeployed
// before this one, and whose failure is this one's too. What is said of the
// function [Deploy] holds. A deployment that is being undeployed takes no more
// children ([ErrUndeployed]).
//
// It may be called in Start and in handlers, which then wait for the child's
// Start. A child's Start finds its parent's consumers only when the parent has
// started.
func (d *Deployment) Deploy(ctx context.Context, v Verticle, opts ...Option) (*Deployment, error) {
	return deploy(ctx, d.eb, d, v, opts)
}

func deploy(ctx context.Context, eb *bus.EventBus, parent *Deployment, v Verticle, opts []Option) (*Deployment, error) {
	v, opts = apart(v, opts)
	if err := check(v); err != nil {
		return nil, err
	}
	defaults := config{name: nameOf(v), logger: eb.Logger()}
	if parent != nil {
		defaults.logger = parent.base
	}
	c, err := configure(defaults, opts)
	if err != nil {
		return nil, err
	}
	d := newDeployment(eb, parent, v, c)
	if err := d.admit(ctx); err != nil {
		return nil, err
	}
	first := d.life
	go d.live() // until the deployment ends; Done tells
	if err := first.start(ctx); err != nil {
		return nil, err
	}
	d.log.Debug("verticle deployed")
	first.awaitKnown(ctx)
	return d, nil
}

// admit refuses a deployment that cannot start, and enters it with its parent.
func (d *Deployment) admit(ctx context.Context) error {
	if ctx.Err() != nil {
		return d.failed("deploy", context.Cause(ctx))
	}
	select {
	case <-d.eb.Done():
		return d.failed("deploy", bus.ErrClosed)
	default:
	}
	if err := d.claim(); err != nil {
		return err
	}
	if d.parent != nil {
		if err := d.parent.current().adopt(d); err != nil {
			d.release()
			return err
		}
	}
	registryOf(d.eb).enter(d)
	return nil
}

// start calls Start for Deploy. If that fails it waits until all is undone.
func (l *life) start(ctx context.Context) error {
	if err := l.callStart(ctx); err == nil {
		return nil
	}
	d := l.d
	<-d.done
	if l.cause == 0 { // somebody called Undeploy
		return errors.Join(d.failed("start", ErrUndeployed), d.Err())
	}
	return d.Err()
}

// callStart calls Start in the turn, with a context that ends also when the
// life is to end.
func (l *life) callStart(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.ending, func() { cancel(context.Cause(l.ending)) })()

	d := l.d
	err = errGoexit
	defer func() { err = l.startReturned(err) }()
	return d.eb.Do(ctx, func(ctx context.Context) error {
		err := d.protect("start", func() error { return d.verticle.Start(d.mark(ctx), d) })
		if err != nil {
			return err
		}
		return l.setStarted(ctx)
	})
}

// setStarted notes that Start has returned nil. If the life is to end already
// its consumers need not be announced; if it has even ended without Start's
// return, it is too late for its Stop, which is then called here.
func (l *life) setStarted(ctx context.Context) error {
	d := l.d
	d.mu.Lock()
	l.started = true
	tooLate := l.stopPassed
	d.mu.Unlock()
	if tooLate {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undeployTime)
		defer cancel()
		if err := d.stop(ctx); err != nil {
			d.log.Error("verticle failed after its end", "err", d.failed("stop", err))
		}
	}
	if l.isEnding() {
		return ErrUndeployed
	}
	return nil
}

// startReturned notes that Start is over. If it failed, or the life was ended
// meanwhile, it returns an error, and the life ends.
func (l *life) startReturned(err error) error {
	defer close(l.startDone)
	d := l.d
	d.mu.Lock()
	after := d.tell
	switch {
	case l.isEnding():
		if err = without(err, context.Canceled, ErrUndeployed); err != nil {
			l.addLocked(d.failed("start", err))
		}
		err = ErrUndeployed
	case err != nil:
		after = l.failLocked("start", err)
	default:
		d.up, l.since = true, time.Now()
		d.tellLocked(Started{Path: d.path, Restarts: d.restarts()})
	}
	d.mu.Unlock()
	after()
	return err
}

// awaitKnown waits until the linked nodes know the consumers, but not for long.
func (l *life) awaitKnown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, knownWait)
	defer cancel()
	l.d.mu.Lock()
	consumers := slices.Clip(l.consumers)
	l.d.mu.Unlock()
	var unknown []string
	var why error
	for _, c := range consumers {
		if err := c.Known(ctx); err != nil && !errors.Is(err, bus.ErrClosed) { // it may be closed again
			unknown, why = append(unknown, c.Address()), err
		}
	}
	if unknown != nil {
		l.d.log.Warn("verticle deployed before all linked nodes know its consumers", "address", unknown, "err", why)
	}
}
