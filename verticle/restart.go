package verticle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Restart says when a verticle that has failed is started again, and when it is
// given up. The zero value means the defaults.
type Restart struct {
	// Max is how many restarts there may be within Window: the deployment ends
	// with the next failure, and so its parent fails. The default is 5.
	Max int

	// Window is the time that Max is for, looking back from a failure. The
	// default is 1 min. If fewer than Max pauses fit into it the verticle is
	// never given up.
	Window time.Duration

	// Delay is the pause before the first restart. The pauses double up to
	// MaxDelay, and begin anew when the verticle has run for a Window. Each is
	// varied by half, up or down, and then no longer than MaxDelay. The defaults
	// are 500 ms and 30 s; so what fails at once is given up after about 15 s.
	Delay, MaxDelay time.Duration
}

// WithRestart has the verticle started again when it fails. Without it nothing is
// restarted, and a failure ends the deployment.
//
// A failure is an error or panic of a function of Go or of a timer, a child that
// has failed and is not restarted itself, a panic of a handler of Consume, and,
// in a restart, an error or panic of Start. An error of Start at Deploy is none,
// as Deploy returns it; nor is a handler's error, which is an answer.
//
// At a failure all is undone as by [Deployment.Undeploy], Stop included, within
// 10 s; after a pause Start is called on the same value, in the turn, with a
// context that ends when the deployment is to end. It finds the fields as they
// were left. The deployment stays the same, with its ID, and Done open; children
// and consumers are those that Start makes again, and no others. Until then
// messages go to other consumers, and without any fail with
// [github.com/runrig-go/runrig/bus.ErrNoConsumer]; what waited when the consumers
// were closed waits on, until its deadline. After a panic of a handler, or of a
// timer's function, no handler of the turn begins until Start has returned; one in
// a Do of Go's has given the turn away. What Stop does wrong is logged and told
// ([Restarting]), and keeps nothing from its restart.
//
// The deployment ends, with its last failure as the cause, when there were too
// many, and when what was to be undone still runs after its 10 s: two Starts
// must not meet. Undeploy ends it at any moment, also in a pause or while Start
// runs. A bus that is closed is no reason for a restart.
//
// Children do not inherit it. A negative value, and a Delay over MaxDelay, are
// errors of Deploy.
func WithRestart(r Restart) Option {
	return optionFunc(func(c *config) error {
		for _, v := range []struct {
			name     string
			value    any
			negative bool
		}{
			{"Max", r.Max, r.Max < 0}, {"Window", r.Window, r.Window < 0},
			{"Delay", r.Delay, r.Delay < 0}, {"MaxDelay", r.MaxDelay, r.MaxDelay < 0},
		} {
			if v.negative {
				return fmt.Errorf("verticle: WithRestart with a %s of %v; it must not be negative (0 means the default)", v.name, v.value)
			}
		}
		r := r // the option may be used again, at the same time too
		r.Max = cmp.Or(r.Max, 5)
		r.Window = cmp.Or(r.Window, time.Minute)
		r.Delay = cmp.Or(r.Delay, 500*time.Millisecond)
		r.MaxDelay = cmp.Or(r.MaxDelay, max(30*time.Second, r.Delay))
		if r.Delay > r.MaxDelay {
			return fmt.Errorf("verticle: WithRestart with a Delay of %v over its MaxDelay of %v", r.Delay, r.MaxDelay)
		}
		c.restart = &r
		return nil
	})
}

// supervision decides on the restarts of a deployment, whose mu guards it.
type supervision struct {
	Restart
	pauses backoff.ExponentialBackOff
	recent []time.Time // when restarts were planned, within Window
	n      int         // of all
}

// plan is a restart to come.
type plan struct {
	n     int
	delay time.Duration
}

func newSupervision(r Restart) *supervision {
	return &supervision{Restart: r, pauses: backoff.ExponentialBackOff{
		InitialInterval: r.Delay, MaxInterval: r.MaxDelay, Multiplier: 2, RandomizationFactor: 0.5,
	}}
}

// next plans the restart after a failure, now, of a life that had started at the
// time since, if not zero. If there are too many it says so instead.
func (s *supervision) next(since time.Time) (*plan, string) {
	now := time.Now()
	s.recent = slices.DeleteFunc(s.recent, func(t time.Time) bool { return now.Sub(t) >= s.Window })
	if len(s.recent) >= s.Max {
		return nil, fmt.Sprintf("given up after %d restarts within %v", len(s.recent), s.Window)
	}
	if !since.IsZero() && now.Sub(since) >= s.Window {
		s.pauses.Reset()
	}
	s.recent = append(s.recent, now)
	s.n++
	return &plan{s.n, s.pause()}, ""
}

// pause returns the next pause.
func (s *supervision) pause() time.Duration {
	d := s.pauses.NextBackOff()
	if d < 0 || d > s.MaxDelay { // varied upwards, perhaps out of range
		return s.MaxDelay
	}
	return d
}

// restarts returns how often the deployment was restarted. The caller holds mu.
func (d *Deployment) restarts() int {
	if d.supervision == nil {
		return 0
	}
	return d.supervision.n
}

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
