package verticle

import (
	"context"
	"errors"
)

// Go runs f on a goroutine that the deployment owns; it returns at once. f runs
// outside the turn, beside Start and the handlers: this is the place for what
// blocks. Its context ends when the deployment does, after Stop, and before a
// restart; f must then return, and is awaited.
//
// If f returns an error, panics, or is nil, the deployment fails: it ends, and
// [Deployment.Err] has the error, or it is restarted ([WithRestart]). When f
// returns nil only the goroutine ends. The context's error is no failure once the
// context has ended, nor is [ErrUndeployed] once the deployment is to end; what
// else f returns because Stop ended it, as a server that was shut down does, f
// must make nil. When the goroutines have been told to end
// f is not called any more, which is logged.
func (d *Deployment) Go(f func(ctx context.Context) error) {
	l := d.current()
	if f == nil {
		l.fail("go", errors.New("nil function"))
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !l.work.enter() {
		d.log.Warn("goroutine refused: its deployment has ended", "err", ErrUndeployed)
		return
	}
	go l.goRun(f) // until work.ctx has ended; endGoroutines waits
}

// goRun runs f and notes how it ended.
func (l *life) goRun(f func(ctx context.Context) error) {
	err := errGoexit
	defer func() {
		if err = l.failure(&l.work, err); err != nil { // before the goroutine counts as ended, so that Err has it
			l.fail("go", err)
		}
		l.d.mu.Lock()
		defer l.d.mu.Unlock()
		l.work.leave()
	}()
	err = l.d.protect("go", func() error { return f(l.work.ctx) })
}

// group is functions that run on goroutines of a life. What is no channel or
// context is guarded by the deployment's mu.
type group struct {
	ctx    context.Context // of the functions; ends when they are to end
	cancel context.CancelFunc
	n      int           // functions that run
	ended  bool          // they have been told to end, and all are awaited
	idle   chan struct{} // closed when they have ended then
}

func (g *group) init(ctx context.Context) {
	g.ctx, g.cancel = context.WithCancel(ctx)
	g.idle = make(chan struct{})
}

// enter counts one more, unless they have been told to end.
func (g *group) enter() bool {
	if g.ctx.Err() != nil {
		return false
	}
	g.n++
	return true
}

// leave counts one less.
func (g *group) leave() {
	if g.n--; g.n == 0 && g.ended {
		close(g.idle)
	}
}

// end tells them to end, once, and returns how many run.
func (g *group) end() int {
	g.cancel()
	if g.ended = true; g.n == 0 {
		close(g.idle)
	}
	return g.n
}

// failure returns what err of a function of the group is: to end when told to is
// none, nor is to be refused something as all ends.
func (l *life) failure(g *group, err error) error {
	if g.ctx.Err() != nil {
		err = without(err, context.Canceled)
	}
	if l.isEnding() {
		err = without(err, ErrUndeployed)
	}
	return err
}
