package bus

import "sync"

// crew is the goroutines that have run a consumer or a scope and linger for the
// next one, while the coarse clock runs. A new goroutine would do as well, but its
// stack would be in no cache, and too small for most handlers: a message that
// comes alone would wait until it has grown.
type crew struct {
	mu   sync.Mutex
	idle []chan worker
}

// worker is a consumer, or a scope, with work.
type worker interface {
	work() // returns when there is no more
}

const crewMax = 16 // goroutines that linger

// start runs w on a goroutine: the one that has lingered for the shortest time, or
// a new one.
func (c *core) start(w worker) {
	c.crew.mu.Lock()
	last := len(c.crew.idle) - 1
	if last < 0 {
		c.crew.mu.Unlock()
		go c.serveWorkers(w)
		return
	}
	next := c.crew.idle[last]
	c.crew.idle = c.crew.idle[:last]
	c.crew.mu.Unlock()
	next <- w
}

// serveWorkers runs w, and then those that are started while it lingers.
func (c *core) serveWorkers(w worker) {
	var next chan worker
	for w != nil {
		w.work()
		if next = c.linger(next); next == nil {
			return
		}
		w = <-next
	}
}

// linger makes a goroutine part of the crew, and returns the channel over which it
// gets what it is to run. It returns nil if the goroutine should rather end.
func (c *core) linger(next chan worker) chan worker {
	c.crew.mu.Lock()
	defer c.crew.mu.Unlock()
	if len(c.crew.idle) == crewMax || !c.coarse.works.Load() || c.closed.Load() {
		return nil
	}
	if next == nil {
		next = make(chan worker, 1)
	}
	c.crew.idle = append(c.crew.idle, next)
	return next
}

// dismiss ends the goroutines that linger, when no consumer has work at a tick of the
// coarse clock, or the bus has closed.
func (c *core) dismiss() {
	c.crew.mu.Lock()
	defer c.crew.mu.Unlock()
	for _, next := range c.crew.idle {
		close(next)
	}
	c.crew.idle = nil
}
