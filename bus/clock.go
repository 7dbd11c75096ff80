package bus

import (
	"sync"
	"sync/atomic"
	"time"
)

// clock is the bus's clock: ns, monotonic. It has a coarse one beside it that costs
// nothing to read: a timer sets that while consumers have work, or somebody reads it.
type clock struct {
	epoch time.Time
	work  *work
	tells []func(works bool) // what is called at each tick: works says that consumers have work

	coarse atomic.Int64
	armed  atomic.Bool
	works  atomic.Bool // a consumer has begun to work, and not all had ended at the last tick
	read   atomic.Bool // since the last tick

	mu    sync.Mutex
	timer *time.Timer
	due   int64 // when it fires
}

// coarseTick is how far the coarse clock is behind at most, but in a process that
// gets no time to run.
const coarseTick = 50 * time.Millisecond

// starved is how far it may be behind without anything being begun too late.
const starved = 10 * time.Second

func (c *clock) init(w *work) { c.epoch, c.work = time.Now(), w }

// onTick has f called at each tick of the coarse clock. The clock must not go yet.
func (c *clock) onTick(f func(works bool)) { c.tells = append(c.tells, f) }

func (c *clock) now() int64 { return int64(time.Since(c.epoch)) }

// timeOf returns the time at which the clock shows now.
func (c *clock) timeOf(now int64) time.Time { return c.epoch.Add(time.Duration(now)) }

// at returns what the clock shows at t, up to farAway from now.
func (c *clock) at(t time.Time) int64 {
	now := c.now()
	return now + min(int64(t.Sub(c.epoch))-now, farAway)
}

// roughly returns the time, up to coarseTick ago.
func (c *clock) roughly() int64 {
	if !c.armed.Load() {
		c.arm(&c.read)
	}
	if !c.read.Load() {
		c.read.Store(true)
	}
	return c.coarse.Load()
}

// tick keeps the coarse clock going while a consumer works that is about to begin.
func (c *clock) tick() {
	if !c.works.Load() {
		c.arm(&c.works)
	}
}

// arm has the next tick come for a reason, unless that is so already.
func (c *clock) arm(reason *atomic.Bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if was := reason.Swap(true); was && c.armed.Load() {
		return
	}
	c.setLocked()
	c.armed.Store(true)
}

// setLocked sets the coarse clock, and the timer.
func (c *clock) setLocked() {
	now := c.now()
	c.coarse.Store(now)
	c.due = now + int64(coarseTick)
	if c.timer == nil {
		c.timer = time.AfterFunc(coarseTick, c.ticked)
	} else {
		c.timer.Reset(coarseTick)
	}
}

func (c *clock) ticked() {
	works := c.ticksOn()
	for _, f := range c.tells {
		f(works)
	}
}

// ticksOn sets the coarse clock, which goes on while there is a reason. It reports
// whether consumers work.
func (c *clock) ticksOn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now() < c.due { // armed anew, as the timer fired
		return true
	}
	if c.work.active.Load() == 0 {
		c.works.Store(false)
		if c.work.active.Load() > 0 { // its tick has seen it set
			c.works.Store(true)
		}
	}
	works := c.works.Load()
	if c.read.Swap(false) || works {
		c.setLocked()
	} else {
		c.armed.Store(false)
	}
	return works
}

// expired reports whether a deadline is over. It reads the clock only if it may
// be.
func (c *clock) expired(deadline int64) bool {
	return c.roughly()+int64(starved) >= deadline && c.now() >= deadline
}

// farAway bounds deadlines, so that reckoning with them does not overflow.
const farAway = 1 << 61
