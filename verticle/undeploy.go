package verticle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/runrig-go/runrig/bus"
)

const (
	// undeployTime bounds an undeployment whose caller has no deadline.
	undeployTime = 10 * time.Second

	// lastMoment is what a step gets when that time is over already.
	lastMoment = 200 * time.Millisecond
)

// errTime is why a step was given up.
var errTime = errors.New("still under way when the time for the undeployment was over")

// Undeploy ends the deployment as the package documentation says, and returns
// its [Deployment.Err] when it has ended. It may be called several times, at the
// same time too: the first call begins the undeployment, and all wait for it.
//
// The deadline of the first call's ctx bounds the undeployment; without one, or
// when it has passed, the bound is 10 s. ctx also bounds the wait: when it ends
// first, Undeploy returns its error with what is being waited for, and the
// undeployment goes on. To be patient with a deployment whose program's context
// has ended, pass another context.
//
// Code of the deployment, or of a child, cannot wait for itself to return. Where
// ctx is that of its handler, Start, Stop or function of Go, Undeploy begins the
// undeployment and returns nil at once; with another context it waits as long as
// that lets it.
func (d *Deployment) Undeploy(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if now := time.Now(); !ok || !deadline.After(now) {
		deadline = now.Add(undeployTime)
	}
	d.beginEnd(nil, deadline)
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
	children := slices.Clone(d.children)
	d.mu.Unlock()
	return slices.ContainsFunc(children, func(c *Deployment) bool { return c.holdsTurn(ctx) })
}

// fail ends the deployment because of err, and with it its parent, unless that
// is told by its Deploy.
func (d *Deployment) fail(err error) {
	first, up := d.beginEnd(err, time.Now().Add(undeployTime))
	if !first || !up {
		return
	}
	d.log.Error("verticle failed", "err", err)
	for p := d.parent; p != nil; p = p.parent {
		p.log.Debug("verticle ends as a child failed", "child", d.id)
		if first, up = p.beginEnd(p.failed("child", err), time.Now().Add(undeployTime)); !first || !up {
			return
		}
	}
}

// beginEnd begins the undeployment, if it has not begun, and adds err, if not
// nil, to its errors. It reports whether it has begun it, and whether Deploy had
// succeeded.
func (d *Deployment) beginEnd(err error, deadline time.Time) (first, up bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.beginLocked(err, deadline), d.up
}

func (d *Deployment) beginLocked(err error, deadline time.Time) bool {
	if err != nil {
		d.addLocked(err)
	}
	if d.ending.Err() != nil {
		return false
	}
	d.cause = len(d.errs)
	d.time, d.cut = context.WithDeadline(context.Background(), deadline)
	d.begin(ErrUndeployed)
	return true
}

// live waits until the deployment is to end, and ends it.
func (d *Deployment) live() {
	var closed <-chan struct{}
	if d.parent == nil { // children end with their parent
		closed = d.eb.Done()
	}
	select {
	case <-d.ending.Done():
	case <-closed:
		d.fail(d.failed("run", fmt.Errorf("%w while the verticle was deployed", bus.ErrClosed)))
	}
	d.endChildren()
	d.await(d.startDone, "wait for Start")
	d.endConsumers()
	d.callStop()
	d.endGoroutines()
	d.end()
}

// endChildren undeploys the children, the last first.
func (d *Deployment) endChildren() {
	d.mu.Lock()
	children := slices.Clone(d.children) // adopt adds no more
	d.mu.Unlock()
	deadline, _ := d.time.Deadline()
	for _, c := range slices.Backward(children) {
		d.setStep("wait for child " + c.id)
		first, _ := c.beginEnd(nil, deadline)
		release := context.AfterFunc(d.time, c.cut) // somebody else may have given it more time
		<-c.done
		release()
		if err := c.Err(); first && err != nil {
			d.add(d.failed("undeploy a child", err))
		}
	}
}

// endConsumers closes the consumers, and awaits their handlers.
func (d *Deployment) endConsumers() {
	d.mu.Lock()
	consumers := d.consumers // Consume adds no more
	d.mu.Unlock()
	for _, c := range consumers {
		if err := c.Close(); err != nil && !errors.Is(err, bus.ErrClosed) {
			d.add(d.failed(fmt.Sprintf("close the consumer of %q", c.Address()), err))
		}
	}
	for _, c := range consumers {
		if !d.await(c.Done(), fmt.Sprintf("wait for the handler of %q", c.Address())) {
			return // the handlers take turns: it is one that holds up all
		}
	}
}

// callStop calls Stop in the turn, if Start has returned nil.
func (d *Deployment) callStop() {
	d.mu.Lock()
	d.stopPassed = true
	started := d.started
	d.mu.Unlock()
	if !started {
		return
	}
	ctx, cancel := d.stopContext()
	defer cancel()
	var err error
	returned := make(chan struct{})
	go func() { // until Stop returns, which is awaited below
		defer close(returned)
		err = errGoexit
		err = d.stopInTurn(ctx)
	}()
	if d.await(returned, "wait for Stop") && err != nil {
		d.add(d.failed("stop", err))
	}
}

// stopContext returns a context for Stop that ends when the time is over, and
// half a last moment from now if it is over already.
func (d *Deployment) stopContext() (context.Context, context.CancelFunc) {
	if d.time.Err() == nil {
		return context.WithCancel(d.time)
	}
	return context.WithTimeout(context.Background(), lastMoment/2)
}

// stopInTurn calls Stop when the turn comes, if it comes before ctx ends.
func (d *Deployment) stopInTurn(ctx context.Context) error {
	called := false
	err := d.eb.Do(ctx, func(ctx context.Context) error {
		called = true
		return d.stop(ctx)
	})
	if !called {
		return fmt.Errorf("not called, as the turn did not come: %w", err)
	}
	return err
}

func (d *Deployment) stop(ctx context.Context) error {
	return d.protect("stop", func() error { return d.verticle.Stop(d.mark(ctx)) })
}

// end tells everybody that the deployment has ended.
func (d *Deployment) end() {
	d.cut()
	if d.parent != nil {
		d.parent.disown(d)
	}
	d.mu.Lock()
	d.ended = true
	left, up, errs := d.left, d.up, d.errs[d.cause:]
	d.mu.Unlock()
	if !left { // what still runs must not meet another Start
		d.release()
	}
	if up && len(errs) > 0 { // otherwise Deploy returns them, or fail has logged them
		d.log.Warn("verticle undeployed with an error", "err", errors.Join(errs...))
	} else {
		d.log.Debug("verticle undeployed")
	}
	close(d.done)
}

// await waits for ch until the time of the undeployment is over, and then for a
// last moment. If it gives up it adds the error.
func (d *Deployment) await(ch <-chan struct{}, step string) bool {
	d.setStep(step)
	select {
	case <-ch:
		return true
	case <-d.time.Done():
	}
	t := time.NewTimer(lastMoment)
	defer t.Stop()
	select {
	case <-ch:
		return true
	case <-t.C:
	}
	d.mu.Lock()
	d.left = true
	d.mu.Unlock()
	d.add(d.failed("undeploy: "+step, errTime))
	return false
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

// add adds an error to those that Err returns; after the end it is logged.
func (d *Deployment) add(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addLocked(err)
}

func (d *Deployment) addLocked(err error) {
	if d.ended {
		d.log.Error("verticle failed after its end", "err", err)
		return
	}
	d.errs = append(d.errs, err)
}

// disown takes out a child that has ended.
func (d *Deployment) disown(child *Deployment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.Index(d.children, child); i >= 0 {
		d.children = slices.Delete(d.children, i, i+1)
	}
}
