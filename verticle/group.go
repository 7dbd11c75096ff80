package verticle

import (
	"context"
	"errors"
	"fmt"
)

// group is the goroutines of a deployment, guarded by its mu.
type group struct {
	ctx    context.Context // of the functions; ends when they are to end
	cancel context.CancelFunc
	n      int           // functions that run
	idle   chan struct{} // closed when they have been told to end, and have
}

func (g *group) init(ctx context.Context) {
	g.ctx, g.cancel = context.WithCancel(ctx)
	g.idle = make(chan struct{})
}

// checkIdle closes idle when that is so.
func (g *group) checkIdle() {
	if g.n == 0 && g.ctx.Err() != nil {
		close(g.idle)
	}
}

// Go runs f on a goroutine that the deployment owns; it returns at once. f runs
// outside the turn, beside Start and the handlers: this is the place for what
// blocks. Its context ends when the deployment does, after Stop; f must then
// return, and is awaited.
//
// If f returns an error, panics, or is nil, the deployment fails: it ends, and
// [Deployment.Err] has the error. When f returns nil only the goroutine ends. The
// context's error is no failure once the context has ended; what else f returns
// because Stop ended it, as a server that was shut down does, f must make nil.
// When the goroutines have been told to end f is not called any more, which is
// logged.
func (d *Deployment) Go(f func(ctx context.Context) error) {
	if f == nil {
		d.fail(d.failed("go", errors.New("nil function")))
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.work.ctx.Err() != nil {
		d.log.Warn("goroutine refused: its deployment has ended", "err", ErrUndeployed)
		return
	}
	d.work.n++
	go d.goRun(f) // until work.ctx has ended; endGoroutines waits
}

// goRun runs f and notes how it ended.
func (d *Deployment) goRun(f func(ctx context.Context) error) {
	err := errGoexit
	defer func() { d.goReturned(err) }()
	err = d.protect("go", func() error { return f(d.work.ctx) })
}

// goReturned notes that a function of Go is over.
func (d *Deployment) goReturned(err error) {
	if d.work.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if err != nil { // before the goroutine counts as ended, so that Err has it
		d.fail(d.failed("go", err))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.work.n--
	d.work.checkIdle()
}

// endGoroutines tells the functions of Go to end, and awaits them.
func (d *Deployment) endGoroutines() {
	d.mu.Lock()
	d.work.cancel()
	d.work.checkIdle()
	n := d.work.n
	d.mu.Unlock()
	if n > 0 {
		d.await(d.work.idle, fmt.Sprintf("wait for %d goroutines", n))
	}
}
