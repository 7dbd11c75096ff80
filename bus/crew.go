package bus

import "sync"

// crew is the goroutines that have run a consumer or a scope and linger for the next
// one, while the coarse clock runs. A new goroutine would do as well, but its stack would be
// in no cache, and too small for most handlers: a message that comes alone would wait
// until the stack has grown.
type crew struct {
	clock *clock
	leave *departure

	mu   sync.Mutex
	idle []chan worker
}

// worker is a consumer, or a scope, with work.
type worker interface {
	work() // returns when there is no more
}

const crewMax = 16 // goroutines that linger

// start runs w on a goroutine: on the one of the crew that has lingered for the shortest
// time, or on a new one.
func (c *crew) start(w worker) {
	c.mu.Lock()
	last := len(c.idle) - 1
	if last < 0 {
		c.mu.Unlock()
		go c.serveWorkers(w)
		return
	}
	next := c.idle[last]
	c.idle = c.idle[:last]
	c.mu.Unlock()
	next <- w
}

// serveWorkers runs w, and then the workers that are started on this goroutine while it
// lingers.
func (c *crew) serveWorkers(w worker) {
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
func (c *crew) linger(next chan worker) chan worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) == crewMax || !c.clock.works.Load() || c.leave.at(busGone) {
		return nil
	}
	if next == nil {
		next = make(chan worker, 1)
	}
	c.idle = append(c.idle, next)
	return next
}

// ticked dismisses the crew at a tick of the coarse clock at which no consumer has work.
func (c *crew) ticked(works bool) {
	if !works {
		c.dismiss()
	}
}

// dismiss ends the goroutines that linger.
func (c *crew) dismiss() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, next := range c.idle {
		close(next)
	}
	c.idle = nil
}
