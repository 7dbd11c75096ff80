package verticle

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// timer calls a function in the turn of a life. What may change is guarded by
// the deployment's mu.
type timer struct {
	life   *life
	step   string
	f      func(ctx context.Context) error
	began  time.Time
	period time.Duration // 0: once

	clock   *time.Timer
	stopped bool
}

// Every calls f in the deployment's turn, first after one period and then at
// each further one, until the deployment ends or is restarted. f needs no lock
// for the verticle's fields, and must not block, as it holds up the handlers:
// what blocks belongs in [Deployment.Go]. Calls do not pile up: what falls due
// while one runs, or waits for the turn, is left out, and the next comes at its
// time. In Start, the first comes when Start has returned at the earliest.
//
// If f returns an error or panics, that is the deployment's failure, as it is in
// Go; so is a nil f, and a period that is not over 0. Its context ends when the
// deployment is to end; the context's error, its cause and [ErrUndeployed] are no
// failures then. A call that runs
// is awaited, before Stop is called, and no other begins.
//
// stop ends the calls; calling it again does nothing. It does not wait, and may
// be called anywhere, in f too. Where the turn is held f is not called any more
// from there on; elsewhere one call may have begun. Every on a deployment that
// is to end does nothing, which is logged.
func (d *Deployment) Every(period time.Duration, f func(ctx context.Context) error) (stop func()) {
	if period <= 0 {
		d.current().fail("every", fmt.Errorf("period of %v; it must be over 0", period))
		return func() {}
	}
	return d.startTimer("every", period, period, f)
}

// After calls f in the deployment's turn, once, when the delay has passed: see
// [Deployment.Every] for all else. A delay of 0 or less has passed already.
func (d *Deployment) After(delay time.Duration, f func(ctx context.Context) error) (stop func()) {
	return d.startTimer("after", delay, 0, f)
}

func (d *Deployment) startTimer(step string, delay, period time.Duration, f func(context.Context) error) (stop func()) {
	l := d.current()
	if f == nil {
		l.fail(step, errors.New("nil function"))
		return func() {}
	}
	t := &timer{life: l, step: step, f: f, began: time.Now(), period: period}
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.ticks.ctx.Err() != nil {
		d.log.Warn("timer refused: its deployment has ended", "err", ErrUndeployed)
		return func() {}
	}
	l.timers[t] = struct{}{}
	t.clock = time.AfterFunc(delay, t.fire) // until it is stopped; endTimers stops it, and waits
	return t.stop
}

func (t *timer) stop() {
	t.life.d.mu.Lock()
	defer t.life.d.mu.Unlock()
	t.stopLocked()
}

func (t *timer) stopLocked() {
	t.stopped = true
	t.clock.Stop()
	delete(t.life.timers, t)
}

// due reports whether f is still to be called.
func (t *timer) due() bool {
	t.life.d.mu.Lock()
	defer t.life.d.mu.Unlock()
	return !t.stopped && !t.life.isEnding()
}

// fire takes the turn and calls f. It asks for it when Start is over: what waits
// gets the turn of a Start that has failed before that is known.
func (t *timer) fire() {
	d, ticks := t.life.d, &t.life.ticks
	d.mu.Lock()
	run := !t.stopped && ticks.enter()
	d.mu.Unlock()
	if !run {
		return
	}
	var err error // what ends the timer
	defer func() { t.fired(err) }()
	select {
	case <-t.life.startDone:
	case <-ticks.ctx.Done():
	}
	ofTurn := d.eb.Do(ticks.ctx, func(ctx context.Context) error {
		if !t.due() {
			return nil
		}
		err = errGoexit
		defer func() { err = t.life.failedIn(t.step, err) }() // while it has the turn
		err = d.protect(t.step, func() error { return t.f(ctx) })
		return err
	})
	if err == nil {
		err = t.life.failedIn(t.step, ofTurn)
	}
}

// failedIn ends the life if err of a timer's function is a failure, and returns it
// then. After a panic the consumers are closed at once, as after a handler's.
func (l *life) failedIn(step string, err error) error {
	if err = l.failure(&l.ticks, err); err == nil {
		return nil
	}
	if l.d.supervision != nil && (errors.Is(err, ErrPanic) || errors.Is(err, errGoexit)) {
		l.panicked(step, err)
	} else {
		l.fail(step, err)
	}
	return err
}

// fired notes that a call is over, and sets the clock for the next one.
func (t *timer) fired(err error) {
	l := t.life
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	switch {
	case t.stopped:
	case t.period == 0 || err != nil:
		t.stopLocked()
	default:
		t.clock.Reset(t.period - time.Since(t.began)%t.period)
	}
	l.ticks.leave()
}
