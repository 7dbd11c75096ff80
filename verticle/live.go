package verticle

import (
	"context"
	"errors"
	"time"
)

// live ends one life after the other when it is to end, until no other follows.
func (d *Deployment) live() {
	for l := d.current(); l != nil; l = d.nextLife(l) {
		select {
		case <-l.ending.Done():
		case <-d.busClosed():
			l.fail("run", errBusClosed)
		}
		l.undo()
	}
	d.end()
}

// busClosed returns the channel that ends a deployment without a parent; others
// end with theirs.
func (d *Deployment) busClosed() <-chan struct{} {
	if d.parent != nil {
		return nil
	}
	return d.eb.Done()
}

// nextLife begins the life after l, if there is to be one, when its pause is
// over.
func (d *Deployment) nextLife(l *life) *life {
	if !d.announceRestart(l) {
		return nil
	}
	pause := time.NewTimer(l.restart.delay)
	defer pause.Stop()
	d.setStep("wait before a restart")
	select {
	case <-pause.C:
	case <-d.over.Done():
	case <-d.busClosed():
		d.abandon(l, "run", errBusClosed)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over.Err() != nil {
		l.forgiveLocked()
		return nil
	}
	next := newLife(d)
	d.life = next
	go func() { // until Start returns, which undo waits for
		_ = next.callStart(context.Background()) // which the life has as its failure
	}()
	return next
}

// announceRestart tells of the restart that is to follow l, if there is one.
func (d *Deployment) announceRestart(l *life) bool {
	d.mu.Lock()
	undone := l.errs[l.cause:]
	switch {
	case l.restart == nil:
		d.mu.Unlock()
		return false
	case d.over.Err() != nil:
		l.forgiveLocked()
		d.mu.Unlock()
		return false
	case l.left || l.leftBelow:
		d.mu.Unlock()
		d.abandon(l, "restart", errors.New("not restarted, as something of it still runs"))
		return false
	}
	l.announced = true
	d.tellLocked(Restarting{Path: d.path, Err: join(l.errs), Restarts: l.restart.n, Delay: l.restart.delay})
	d.mu.Unlock()
	if len(undone) > 0 {
		d.log.Warn("verticle undone with an error", "err", errors.Join(undone...))
	}
	d.tell()
	return true
}

// forgiveLocked takes the failures out that a restart was to mend.
func (l *life) forgiveLocked() {
	if l.restart != nil {
		l.errs, l.cause, l.restart = l.errs[l.cause:], 0, nil
	}
}

// abandon ends a deployment between two lives, because of err.
func (d *Deployment) abandon(l *life, step string, err error) {
	d.mu.Lock()
	if d.over.Err() != nil {
		d.mu.Unlock()
		return
	}
	d.finish()
	l.restart = nil
	f := d.failed(step, err)
	l.errs = append(l.errs, f)
	l.cause = len(l.errs)
	d.failedLocked(f)
	if l.announced { // else its own Failed came last
		d.tellLocked(Failed{Path: d.path, Err: f})
	}
	first, all := l.errs[0], join(l.errs)
	d.mu.Unlock()
	d.tell()
	d.log.Error("verticle failed", "err", all)
	d.failParent(first)
}
