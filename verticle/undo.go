package verticle

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/runrig-go/runrig/bus"
)

// A step is a part of the undoing of a life that has begun and is to be awaited.
type step struct {
	text string          // what is awaited
	done <-chan struct{} // closed when it is over
	over func()          // what is to be done then; never nil

	bound bool // done comes in time, without a limit here: a child has its own
	turn  bool // a handler that takes turns: one that does not return holds up all
}

func nothing() {}

// undo ends all that the life has made, one step after the other. When the time is
// over all that is left is begun at once, and gets a last moment together.
func (l *life) undo() {
	var left []step
	for _, begin := range l.steps() {
		left = append(left, l.awaitInTime(begin())...)
	}
	l.awaitLast(left)
	l.cut()
}

// steps returns what begins the steps of the undoing, in their order.
func (l *life) steps() (begin []func() []step) {
	l.d.mu.Lock()
	children := slices.Clone(l.children) // adopt adds no more
	l.d.mu.Unlock()
	for _, c := range slices.Backward(children) {
		begin = append(begin, func() []step { return l.endChild(c) })
	}
	return append(begin, l.endStart, l.endConsumers, l.endTimers, l.callStop, l.endGoroutines)
}

// awaitInTime waits for steps until the time of the undoing is over, and returns
// those that are left.
func (l *life) awaitInTime(steps []step) (left []step) {
	for i, s := range steps {
		l.d.setStep(s.text)
		select {
		case <-s.done:
			s.over()
		case <-l.time.Done():
			return steps[i:]
		}
	}
	return nil
}

// awaitLast waits a last moment for steps, all of which have begun. Those that it
// gives up are errors.
func (l *life) awaitLast(steps []step) {
	last, end := context.WithTimeout(context.Background(), lastMoment)
	defer end()
	stuck := false // who has the turn
	for _, s := range steps {
		l.d.setStep(s.text)
		if s.await(last) {
			s.over()
			continue
		}
		l.leave(s, stuck && s.turn)
		stuck = stuck || s.turn
	}
}

// await waits until the step is over, and says so; or until ctx ends, unless the
// step has a bound of its own.
func (s step) await(ctx context.Context) bool {
	if s.bound {
		<-s.done
		return true
	}
	select {
	case <-s.done:
		return true
	case <-ctx.Done():
	}
	select { // both may have been
	case <-s.done:
		return true
	default:
		return false
	}
}

// leave leaves a step behind; that is an error, unless another one has said it.
func (l *life) leave(s step, said bool) {
	d := l.d
	d.mu.Lock()
	defer d.mu.Unlock()
	l.left = true
	l.leftover = append(l.leftover, s)
	if !said {
		l.addLocked(d.failed("undeploy: "+s.text, errTime))
	}
}

// endChild undeploys a child.
func (l *life) endChild(c *Deployment) []step {
	deadline, _ := l.time.Deadline()
	first := c.beginEnd(deadline)
	release := context.AfterFunc(l.time, c.cut) // somebody else may have given it more time
	return []step{{text: "wait for child " + c.id, done: c.done, bound: true, over: func() {
		release()
		if err := c.Err(); first && err != nil {
			l.add(l.d.failed("undeploy a child", err))
		}
	}}}
}

// endStart awaits Start, whose context has ended.
func (l *life) endStart() []step {
	return []step{{text: "wait for Start", done: l.startDone, over: nothing}}
}

// endConsumers closes the consumers and stops the timers.
func (l *life) endConsumers() (steps []step) {
	l.stopTimers()
	for _, c := range l.closeConsumers() {
		steps = append(steps, step{text: fmt.Sprintf("wait for the handler of %q", c.Address()), done: c.Done(), over: nothing, turn: !c.beside})
	}
	return steps
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

// stopTimers stops the timers.
func (l *life) stopTimers() {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	for t := range l.timers {
		t.stopLocked()
	}
	l.ticks.end()
}

// endTimers awaits the timers' functions that run or wait for the turn.
func (l *life) endTimers() []step {
	return []step{{text: "wait for a timer's function", done: l.ticks.idle, over: nothing}}
}

// callStop calls Stop in the turn, if Start has returned nil.
func (l *life) callStop() []step {
	l.d.mu.Lock()
	l.stopPassed = true
	started := l.started
	l.d.mu.Unlock()
	if !started {
		return nil
	}
	ctx, cancel := l.stopContext()
	err := errGoexit
	returned := make(chan struct{})
	go func() { // until Stop returns; undo waits, and releaseAfter
		defer close(returned)
		defer cancel()
		err = l.d.stopInTurn(ctx)
	}()
	return []step{{text: "wait for Stop", done: returned, over: func() {
		if err != nil {
			l.add(l.d.failed("stop", err))
		}
	}}}
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

// endGoroutines tells the functions of Go to end.
func (l *life) endGoroutines() []step {
	l.d.mu.Lock()
	n := l.work.end()
	l.d.mu.Unlock()
	return []step{{text: fmt.Sprintf("wait for %d goroutines", n), done: l.work.idle, over: nothing}}
}
