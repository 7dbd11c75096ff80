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

// Undeploy ends the deployment as the package documentation says, with no restart
// to follow, and returns its [Deployment.Err] when it has ended. It may be called
// several times, at the same time too: the first call begins the undeployment,
// and all wait for it.
//
// The deadline of the first call's ctx bounds the undeployment; without one, or
// when it has passed, the bound is 10 s. ctx also bounds the wait: when it ends
// first, Undeploy returns its error with what is being waited for, and the
// undeployment goes on. To be patient with a deployment whose program's context
// has ended, pass another context.
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

// undo ends all that the life has made.
func (l *life) undo() {
	l.endChildren()
	l.await(l.startDone, "wait for Start")
	l.endConsumers()
	l.callStop()
	l.endGoroutines()
	l.cut()
}

// endChildren undeploys the children, the last first.
func (l *life) endChildren() {
	d := l.d
	d.mu.Lock()
	children := slices.Clone(l.children) // adopt adds no more
	d.mu.Unlock()
	deadline, _ := l.time.Deadline()
	for _, c := range slices.Backward(children) {
		d.setStep("wait for child " + c.id)
		first := c.beginEnd(deadline)
		release := context.AfterFunc(l.time, c.cut) // somebody else may have given it more time
		<-c.done
		release()
		if err := c.Err(); first && err != nil {
			l.add(d.failed("undeploy a child", err))
		}
	}
}

// endConsumers closes the consumers and stops the timers, and awaits their
// handlers and functions.
func (l *life) endConsumers() {
	n := l.stopTimers()
	stuck := false
	for _, c := range l.closeConsumers() {
		if stuck && !c.beside { // the handlers take turns: it is one that holds up all
			continue
		}
		if !l.await(c.Done(), fmt.Sprintf("wait for the handler of %q", c.Address())) && !c.beside {
			stuck = true
		}
	}
	if n > 0 {
		l.await(l.ticks.idle, "wait for a timer's function")
	}
}

// closeConsumers closes the consumers of a life that ends, and returns them.
func (l *life) closeConsumers() []consumer {
	l.d.mu.Lock()
	consumers := l.consumers // Consume adds no more
	l.d.mu.Unlock()
	for _, c := range consumers {
		if err := c.Close(); err != nil && !errors.Is(err, bus.ErrClosed) {
			l.add(l.d.failed(fmt.Sprintf("close the consumer of %q", c.Address()), err))
		}
	}
	return consumers
}

// stopTimers stops the timers, and returns how many of their functions run or
// wait for the turn.
func (l *life) stopTimers() int {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	for t := range l.timers {
		t.stopLocked()
	}
	return l.ticks.end()
}

// endGoroutines tells the functions of Go to end, and awaits them.
func (l *life) endGoroutines() {
	l.d.mu.Lock()
	n := l.work.end()
	l.d.mu.Unlock()
	if n > 0 {
		l.await(l.work.idle, fmt.Sprintf("wait for %d goroutines", n))
	}
}

// callStop calls Stop in the turn, if Start has returned nil.
func (l *life) callStop() {
	l.d.mu.Lock()
	l.stopPassed = true
	started := l.started
	l.d.mu.Unlock()
	if !started {
		return
	}
	ctx, cancel := l.stopContext()
	defer cancel()
	var err error
	returned := make(chan struct{})
	go func() { // until Stop returns, which is awaited below
		defer close(returned)
		err = errGoexit
		err = l.d.stopInTurn(ctx)
	}()
	if l.await(returned, "wait for Stop") && err != nil {
		l.add(l.d.failed("stop", err))
	}
}

// stopContext returns a context for Stop that ends when the time is over, and
// half a last moment from now if it is over already.
func (l *life) stopContext() (context.Context, context.CancelFunc) {
	if l.time.Err() == nil {
		return context.WithCancel(l.time)
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
	d.mu.Lock()
	d.ended = true
	l, up := d.life, d.up
	errs := l.errs[l.cause:]
	left, below := l.left, l.leftBelow
	if d.hurries != nil {
		d.hurries.Stop()
	}
	d.tellLocked(Stopped{Path: d.path, Err: join(l.errs)})
	d.mu.Unlock()
	if !left { // what still runs must not meet another Start
		d.release()
	}
	if up && len(errs) > 0 { // otherwise Deploy returns them, or fail has logged them
		d.log.Warn("verticle undeployed with an error", "err", errors.Join(errs...))
	} else {
		d.log.Debug("verticle undeployed")
	}
	d.tell()
	if d.parent != nil {
		d.within.disown(d, left || below)
	}
	close(d.done)
}

// await waits for ch until the time of the undoing is over, and then for a last
// moment. If it gives up it adds the error.
func (l *life) await(ch <-chan struct{}, step string) bool {
	d := l.d
	d.setStep(step)
	select {
	case <-ch:
		return true
	case <-l.time.Done():
	}
	t := time.NewTimer(lastMoment)
	defer t.Stop()
	select {
	case <-ch:
		return true
	case <-t.C:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l.left = true
	l.addLocked(d.failed("undeploy: "+step, errTime))
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
