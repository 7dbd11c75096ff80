package bus

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// turns is a turn that several take one after the other, in the order in which they
// came: the consumers of a scope, and its Do.
type turns struct {
	holder holder
	crew   *crew
	clock  *clock

	mu    sync.Mutex
	busy  bool // somebody holds the turn
	queue []turnTaker
	since int64 // by the bus's clock, when the turn that is held was taken; of no meaning while busy is false
	held  int64 // nanoseconds, of the turns before
}

// turnTaker waits for the turn: a consumer with messages, or a Do.
type turnTaker struct {
	consumer drainer
	granted  chan struct{} // of a Do
}

// drainer handles up to n messages, and reports whether there are more.
type drainer interface{ drainSome(n int) (more bool) }

// turnLength is how many messages a consumer handles before others of its
// scope get the turn.
const turnLength = 32

// push queues a consumer for the turn. The goroutine that gives out the turn, in work, ends
// when nobody waits for it, or a Do has it; closing the bus waits for that.
func (t *turns) push(c drainer) {
	t.mu.Lock()
	t.queue = append(t.queue, turnTaker{consumer: c})
	start := !t.busy
	if start {
		t.busy, t.since = true, t.clock.now()
	}
	t.mu.Unlock()
	if start {
		t.crew.start(t)
	}
}

// work gives the turn to one waiter after the other. It returns when none waits, or when a
// Do has the turn: release goes on from there.
func (t *turns) work() {
	for {
		t.mu.Lock()
		t.countLocked()
		if len(t.queue) == 0 {
			t.queue, t.busy = nil, false
			t.mu.Unlock()
			return
		}
		next := t.queue[0]
		t.queue[0] = turnTaker{}
		t.queue = t.queue[1:]
		t.mu.Unlock()
		if next.granted != nil {
			close(next.granted) // its Do goes on from here
			return
		}
		if next.consumer.drainSome(turnLength) {
			t.push(next.consumer)
		}
	}
}

// acquire waits for the turn.
func (t *turns) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("bus: waiting for the turn of a scope: %w", err)
	}
	t.mu.Lock()
	if !t.busy {
		t.busy, t.since = true, t.clock.now()
		t.mu.Unlock()
		return nil
	}
	granted := make(chan struct{})
	t.queue = append(t.queue, turnTaker{granted: granted})
	t.mu.Unlock()
	select {
	case <-granted:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	for i, o := range t.queue {
		if o.granted == granted {
			t.queue = append(t.queue[:i:i], t.queue[i+1:]...)
			t.mu.Unlock()
			return fmt.Errorf("bus: waiting for the turn of a scope: %w", ctx.Err())
		}
	}
	t.mu.Unlock()
	<-granted // the turn was granted meanwhile, or just is
	t.release()
	return fmt.Errorf("bus: waiting for the turn of a scope: %w", ctx.Err())
}

// release passes on the turn that a Do has held.
func (t *turns) release() {
	t.mu.Lock()
	t.countLocked()
	idle := len(t.queue) == 0
	t.busy = !idle
	t.mu.Unlock()
	if !idle {
		t.crew.start(t)
	}
}

// countLocked counts the time for which the turn was held until now.
func (t *turns) countLocked() {
	now := t.clock.now()
	t.held, t.since = t.held+now-t.since, now
}

// busyTime returns for how long the turn has been held.
func (t *turns) busyTime() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy {
		t.countLocked()
	}
	return time.Duration(t.held)
}
