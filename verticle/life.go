package verticle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// A life is a deployment from a call of Start to when all that was made since is
// undone. It goes by start (deploy.go), ending (fail here, or Undeploy), and undo
// (undo.go). Then the next life follows where the deployment is restarted (restart.go),
// else the deployment's end (undeploy.go). What is no
// channel or context is guarded by the deployment's mu.
type life struct {
	d         *Deployment
	ending    context.Context // ends when the undoing begins
	begin     context.CancelCauseFunc
	startDone chan struct{} // closed when Start is over

	since      time.Time // when Start has returned nil
	started    bool      // it has
	stopPassed bool      // the undoing has come to Stop
	left       bool      // it has left something behind that still runs
	leftBelow  bool      // so has a child
	leftover   []step    // what still ran
	errs       []error
	cause      int // how many of them were why it ended
	children   []*Deployment
	consumers  []consumer
	timers     map[*timer]struct{}
	ticks      group // timers' functions that run, or wait for the turn
	work       group // functions of Go

	// Set when the undoing begins.
	restart   *plan           // what comes after it; nil: nothing
	announced bool            // the restart has been told
	time      context.Context // ends when its time is over
	cut       context.CancelFunc
}

func newLife(d *Deployment) *life {
	l := &life{d: d, startDone: make(chan struct{}), timers: map[*timer]struct{}{}}
	l.ending, l.begin = context.WithCancelCause(context.Background())
	l.ticks.init(d.mark(l.ending))
	l.work.init(d.mark(context.Background()))
	return l
}

// isEnding reports whether the undoing has begun.
func (l *life) isEnding() bool { return l.ending.Err() != nil }

// beginLocked begins the undoing, if it has not begun, and adds err, if not
// nil, to the errors. It reports whether it has begun it.
func (l *life) beginLocked(err error, deadline time.Time) bool {
	if err != nil {
		l.addLocked(err)
	}
	if l.isEnding() {
		return false
	}
	l.cause = len(l.errs)
	l.time, l.cut = context.WithDeadline(context.Background(), deadline)
	l.begin(ErrUndeployed)
	if err != nil {
		l.d.failedLocked(err)
		l.d.tellLocked(Failed{Path: l.d.path, Err: err})
	}
	return true
}

// fail ends the life because of err. If it is not followed by another the parent
// fails too, unless Deploy returns the error.
func (l *life) fail(step string, err error) {
	l.d.mu.Lock()
	after := l.failLocked(step, err)
	l.d.mu.Unlock()
	after()
}

// failLocked begins what fail does and returns what is left to do without the
// lock.
func (l *life) failLocked(step string, err error) (after func()) {
	d, f := l.d, l.d.failed(step, err)
	restart, why := l.planLocked(err)
	f.note = why
	if !l.beginLocked(f, time.Now().Add(undeployTime)) {
		return func() {}
	}
	if l.restart = restart; restart == nil {
		d.finish()
	}
	up := d.up
	return func() {
		switch d.tell(); {
		case restart != nil:
			d.log.Warn("verticle failed and is restarted", "err", f, "delay", restart.delay)
		case up:
			d.log.Error("verticle failed", "err", f)
			d.failParent(f)
		}
	}
}

// failParent makes the deployment's failure its parent's.
func (d *Deployment) failParent(err error) {
	if d.parent != nil {
		d.parent.log.Debug("verticle ends as a child failed", "child", d.id)
		d.within.fail("child", err)
	}
}

// planLocked plans the restart after a failure, if there is to be one; if not,
// it may say why.
func (l *life) planLocked(err error) (*plan, string) {
	d := l.d
	if d.supervision == nil || !d.up || l.isEnding() || l != d.life || d.over.Err() != nil || errors.Is(err, errBusClosed) {
		return nil, ""
	}
	return d.supervision.next(l.since)
}

// errBusClosed is why a deployment without a parent ends with its bus.
var errBusClosed = fmt.Errorf("%w while the verticle was deployed", bus.ErrClosed)

// adopt enters a child.
func (l *life) adopt(child *Deployment) error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if l.isEnding() {
		return l.d.failed("deploy a child", ErrUndeployed)
	}
	l.children = append(l.children, child)
	child.within = l
	return nil
}

// disown takes out a child that has ended; left says that something of it has
// not.
func (l *life) disown(child *Deployment, left bool) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.leftBelow = l.leftBelow || left
	if i := slices.Index(l.children, child); i >= 0 {
		l.children = slices.Delete(l.children, i, i+1)
	}
}

// add adds an error to those of the life; after the end it is logged.
func (l *life) add(err error) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.addLocked(err)
}

func (l *life) addLocked(err error) {
	if l.d.ended || l != l.d.life {
		l.d.log.Error("verticle failed after its end", "err", err)
		return
	}
	l.errs = append(l.errs, err)
}
