package verticle

import (
	"context"
)

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
