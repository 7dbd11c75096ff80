package bus

import (
	"sync"
	"sync/atomic"
	"time"
)

// coarse is a clock that costs nothing to read: a timer sets it while consumers
// have work, or somebody reads it.
type coarse struct {
	now   atomic.Int64
	armed atomic.Bool
	works atomic.Bool // a consumer has begun to work, and not all had ended at the last tick
	read  atomic.Bool // since the last tick

	mu    sync.Mutex
	timer *time.Timer
	due   int64 // when it fires
}

// coarseTick is how far the coarse clock is behind at most, but in a process that
// gets no time to run.
const coarseTick = 50 * time.Millisecond

// starved is how far it may be behind without anything being begun too late.
const starved = 10 * time.Second

// clock is the bus's clock: ns, monotonic.
func (c *core) clock() int64 { return int64(time.Since(c.epoch)) }

func (c *core) timeOf(clock int64) time.Time { return c.epoch.Add(time.Duration(clock)) }

// roughly returns the time, up to coarseTick ago.
func (c *core) roughly() int64 {
	if !c.coarse.armed.Load() {
		c.arm(&c.coarse.read)
	}
	if !c.coarse.read.Load() {
		c.coarse.read.Store(true)
	}
	return c.coarse.now.Load()
}

// tick keeps the coarse clock going while a consumer works that is about to begin.
func (c *core) tick() {
	if !c.coarse.works.Load() {
		c.arm(&c.coarse.works)
	}
}

// arm has the next tick come for a reason, unless that is so already.
func (c *core) arm(reason *atomic.Bool) {
	t := &c.coarse
	t.mu.Lock()
	defer t.mu.Unlock()
	if was := reason.Swap(true); was && t.armed.Load() {
		return
	}
	c.setTick()
	t.armed.Store(true)
}

// setTick sets the clock, and the timer. The caller holds coarse.mu.
func (c *core) setTick() {
	t, now := &c.coarse, c.clock()
	t.now.Store(now)
	t.due = now + int64(coarseTick)
	if t.timer == nil {
		t.timer = time.AfterFunc(coarseTick, c.ticked)
	} else {
		t.timer.Reset(coarseTick)
	}
}

func (c *core) ticked() {
	if !c.ticksOn() {
		c.dismiss()
	}
}

// ticksOn sets the coarse clock, which goes on while there is a reason. It reports
// whether consumers work.
func (c *core) ticksOn() bool {
	t := &c.coarse
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.clock() < t.due { // armed anew, as the timer fired
		return true
	}
	if c.active.Load() == 0 {
		t.works.Store(false)
		if c.active.Load() > 0 { // its tick has seen it set
			t.works.Store(true)
		}
	}
	works := t.works.Load()
	if t.read.Swap(false) || works {
		c.setTick()
	} else {
		t.armed.Store(false)
	}
	return works
}

// expired reports whether a deadline is over. It reads the clock only if it may
// be.
func (c *core) expired(deadline int64) bool {
	return c.roughly()+int64(starved) >= deadline && c.clock() >= deadline
}
