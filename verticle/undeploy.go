package verticle

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/runrig-go/runrig/bus"
)

const (
	// undeployTime bounds an undeployment whose caller has no deadline.
	undeployTime = 10 * time.Second

	// lastMoment is what all steps that are left get when that time is over.
	lastMoment = 200 * time.Millisecond
)

// errTime is why a step was given up.
var errTime = errors.New("still under way when the time for the undeployment was over")

// Undeploy ends the deployment as the package documentation says, with no restart
// to follow, and returns its [Deployment.Err] when it has ended. It may be called
// several times, at the same time too: the first call begins the undeployment,
// and all wait for it.
//
// The deadline of the first call's ctx bounds the undeployment; without one, or
// when it has passed, the bound is 10 s; what is left then has 200 ms more. ctx
// also bounds the wait: when it ends first, Undeploy returns its error with what
// is being waited for, and the undeployment goes on. To be patient with a
// deployment whose program's context has ended, pass another context.
//
// Code of the deployment, or of a child, cannot wait for itself to return. Where
// ctx is that of its handler, Start, Stop or function of Go or of a timer,
// Undeploy begins the undeployment and returns nil at once; with another context
// it waits as long as that lets it.
func (d *Deployment) Undeploy(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if now := time.Now(); !ok || !deadline.After(now) {
		deadline = now.Add(undeployTime)
	}
	d.beginEnd(deadline)
	if d.calls(ctx) {
		return nil
	}
	select {
	case <-d.done:
		return d.Err()
	case <-ctx.Done():
	}
	select {
	case <-d.done:
		return d.Err()
	default:
	}
	return d.failed("undeploy: "+d.currentStep(), context.Cause(ctx))
}

// calls reports whether ctx is of code that the undeployment would wait for: the
// deployment's own or a child's.
func (d *Deployment) calls(ctx context.Context) bool {
	owner, _ := ctx.Value(ownerKey{}).(*Deployment)
	for ; owner != nil; owner = owner.parent {
		if owner == d {
			return true
		}
	}
	return d.holdsTurn(ctx)
}

// holdsTurn reports whether ctx is of a handler of the deployment or a child:
// its Do would then be a deadlock.
func (d *Deployment) holdsTurn(ctx context.Context) bool {
	ended, cancel := context.WithCancel(ctx) // so that Do does not wait
	cancel()
	err := d.eb.Do(ended, func(context.Context) error { return nil })
	if errors.Is(err, bus.ErrDeadlock) {
		return true
	}
	d.mu.Lock()
	children := slices.Clone(d.life.children)
	d.mu.Unlock()
	return slices.ContainsFunc(children, func(c *Deployment) bool { return c.holdsTurn(ctx) })
}

// beginEnd begins the end of the deployment, if it has not begun, and reports
// whether it has.
func (d *Deployment) beginEnd(deadline time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over.Err() != nil {
		return false
	}
	d.finish()
	if l := d.life; !l.beginLocked(nil, deadline) { // it ends already, to be restarted
		d.hurries = time.AfterFunc(time.Until(deadline), l.cut) // end stops it
	}
	return true
}

// cut ends the time of the undeployment.
func (d *Deployment) cut() { d.current().cut() }

func (d *Deployment) stop(ctx context.Context) error {
	return d.protect("stop", func() error { return d.verticle.Stop(d.mark(ctx)) })
}

// end tells everybody that the deployment has ended.
func (d *Deployment) end() {
	d.mu.Lock()
	d.ended = true
	l, up := d.life, d.up
	errs := l.errs[l.cause:]
	left, below, leftover := l.left, l.leftBelow, l.leftover
	if d.hurries != nil {
		d.hurries.Stop()
	}
	d.tellLocked(Stopped{Path: d.path, Err: join(l.errs)})
	d.mu.Unlock()
	if left { // what still runs must not meet another Start
		go d.releaseAfter(leftover) // ends when that has returned, for which nobody waits
	} else {
		d.release()
	}
	if up && len(errs) > 0 { // otherwise Deploy returns them, or fail has logged them
		d.log.Warn("verticle undeployed with an error", "err", errors.Join(errs...))
	} else {
		d.log.Debug("verticle undeployed")
	}
	d.tell()
	registryOf(d.eb).leave(d)
	if d.parent != nil {
		d.within.disown(d, left || below)
	}
	close(d.done)
}

// releaseAfter releases the verticle when what was left behind has ended.
func (d *Deployment) releaseAfter(leftover []step) {
	for _, s := range leftover {
		<-s.done
		s.over()
	}
	d.release()
}

// setStep notes what the undeployment waits for.
func (d *Deployment) setStep(step string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.step = step
}

func (d *Deployment) currentStep() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.step
}
