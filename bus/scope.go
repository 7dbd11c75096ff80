package bus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// scope is a turn that consumers take: at most one of them handles a message.
type scope struct {
	core *core

	mu    sync.Mutex
	busy  bool // somebody holds the turn
	queue []turnTaker
	doing bool        // a Do holds it
	made  []*Consumer // that the Do has registered
	since int64       // by the bus's clock, when the turn that is held was taken; of no meaning while busy is false
	held  int64       // nanoseconds, of the turns before
}

// heldTurn is a turn that a Do holds, until it is over.
type heldTurn struct {
	scope *scope
	outer context.Context // of its caller, who may hold another turn meanwhile
	over  atomic.Bool
}

// turnTaker waits for the turn: a consumer with messages, or a Do.
type turnTaker struct {
	consumer *Consumer
	granted  chan struct{}
}

// turnLength is how many messages a consumer handles before others of its
// scope get the turn.
const turnLength = 32

// push queues a consumer for the turn. What runs the scope is done when nobody
// waits for the turn; closing the bus waits for it.
func (s *scope) push(c *Consumer) {
	s.mu.Lock()
	s.queue = append(s.queue, turnTaker{consumer: c})
	start := !s.busy
	if start {
		s.busy, s.since = true, s.core.clock()
	}
	s.mu.Unlock()
	if start {
		s.core.start(s)
	}
}

// work gives the turn to one after the other.
func (s *scope) work() {
	for {
		s.mu.Lock()
		s.countLocked()
		if len(s.queue) == 0 {
			s.queue, s.busy = nil, false
			s.mu.Unlock()
			return
		}
		t := s.queue[0]
		s.queue[0] = turnTaker{}
		s.queue = s.queue[1:]
		s.mu.Unlock()
		if t.granted != nil {
			close(t.granted) // its Do goes on from here
			return
		}
		if t.consumer.drain(nil, turnLength) {
			s.push(t.consumer)
		}
	}
}

// acquire waits for the turn.
func (s *scope) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("bus: waiting for the turn of a scope: %w", err)
	}
	s.mu.Lock()
	if !s.busy {
		s.busy, s.since = true, s.core.clock()
		s.mu.Unlock()
		return nil
	}
	t := turnTaker{granted: make(chan struct{})}
	s.queue = append(s.queue, t)
	s.mu.Unlock()
	select {
	case <-t.granted:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for i, o := range s.queue {
		if o.granted == t.granted {
			s.queue = append(s.queue[:i:i], s.queue[i+1:]...)
			s.mu.Unlock()
			return fmt.Errorf("bus: waiting for the turn of a scope: %w", ctx.Err())
		}
	}
	s.mu.Unlock()
	<-t.granted // meanwhile
	s.release()
	return fmt.Errorf("bus: waiting for the turn of a scope: %w", ctx.Err())
}

// release passes the turn on.
func (s *scope) release() {
	s.mu.Lock()
	s.countLocked()
	idle := len(s.queue) == 0
	s.busy = !idle
	s.mu.Unlock()
	if !idle {
		s.core.start(s)
	}
}

// countLocked counts the time for which the turn was held until now.
func (s *scope) countLocked() {
	now := s.core.clock()
	s.held, s.since = s.held+now-s.since, now
}

// busyTime returns for how long the turn has been held.
func (s *scope) busyTime() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy {
		s.countLocked()
	}
	return time.Duration(s.held)
}

// stage keeps a consumer that a Do has registered until it has succeeded.
func (s *scope) stage(c *Consumer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doing {
		s.made = append(s.made, c)
	}
	return s.doing
}

func (s *scope) setDoing(on bool) (made []*Consumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	made, s.made, s.doing = s.made, nil, on
	return made
}

// do runs f with the turn.
func (s *scope) do(ctx context.Context, f func(context.Context) error) error {
	if turnOf(ctx).of(s) {
		return fmt.Errorf("%w: Do in a scope whose turn the caller holds", ErrDeadlock)
	}
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	s.setDoing(true)
	ok := false
	defer func() {
		if !ok { // an error, or a panic that goes on
			for _, c := range s.setDoing(false) {
				_ = c.Close()
			}
		}
	}()
	held := &heldTurn{scope: s, outer: ctx}
	defer held.over.Store(true)
	if err := f(context.WithValue(ctx, turnKey{}, held)); err != nil {
		return err
	}
	made := s.setDoing(false)
	ok = true
	if len(made) == 0 {
		return nil
	}
	if err := s.core.announce(made...); err != nil {
		for _, c := range made {
			_ = c.Close()
		}
		return err
	}
	return nil
}
