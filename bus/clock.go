package bus

import (
	"sync"
	"sync/atomic"
	"time"
)

// coarse is a clock that costs nothing to read: a timer sets it while consumers
// have work.
type coarse struct {
	now   atomic.Int64
	armed atomic.Bool

	mu    sync.Mutex
	timer *time.Timer
}

// coarseTick is how far the coarse clock may be behind.
const coarseTick = 50 * time.Millisecond

// clock is the bus's clock: ns, monotonic.
func (c *core) clock() int64 { return int64(time.Since(c.epoch)) }

func (c *core) timeOf(clock int64) time.Time { return c.epoch.Add(time.Duration(clock)) }

// roughly returns the time, up to coarseTick ago where consumers have work.
func (c *core) roughly() int64 {
	if c.coarse.armed.Load() {
		return c.coarse.now.Load()
	}
	return c.clock()
}

// tick starts the coarse clock, which stops by itself when no consumer has work.
func (c *core) tick() {
	if c.coarse.armed.Load() {
		return
	}
	c.coarse.mu.Lock()
	defer c.coarse.mu.Unlock()
	if c.coarse.armed.Load() {
		return
	}
	c.coarse.now.Store(c.clock())
	c.coarse.armed.Store(true)
	if c.coarse.timer == nil {
		c.coarse.timer = time.AfterFunc(coarseTick, c.ticked)
	} else {
		c.coarse.timer.Reset(coarseTick)
	}
}

func (c *core) ticked() {
	if !c.ticksOn() {
		c.dismiss()
	}
}

// ticksOn reports whether the coarse clock goes on.
func (c *core) ticksOn() bool {
	c.coarse.mu.Lock()
	defer c.coarse.mu.Unlock()
	c.coarse.now.Store(c.clock())
	if c.active.Load() == 0 {
		c.coarse.armed.Store(false)
		if c.active.Load() == 0 { // else its tick has seen it armed
			return false
		}
		c.coarse.armed.Store(true)
	}
	c.coarse.timer.Reset(coarseTick)
	return true
}

// expired reports whether a deadline is over. It reads the clock only if it may
// be.
func (c *core) expired(deadline int64) bool {
	return c.roughly()+int64(4*coarseTick) >= deadline && c.clock() >= deadline
}
