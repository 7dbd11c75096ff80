package bus

import (
	"math"
	"time"
)

// Pause makes the consumer handle nothing until [Consumer.Resume]. It returns at
// once; handlers that run, or are just being given their message, go on. From
// the consumer's own handler it means that nothing further is handled once that
// handler has returned. It may be called at any time and from anywhere; a
// consumer that is paused, or closed, it leaves as it is.
//
// Nothing is lost by a pause. What comes waits, in order, in the consumer's
// window, which does not grow meanwhile; when it is full senders go to other
// consumers of the address, or wait for room until their deadline, and a publish
// skips the consumer after its usual patience. Deadlines hold: what has waited
// for so long, or was given up by its requester, makes room within a tenth of a
// second and is not handled by a Resume. Close, of the consumer or its bus,
// sends back what waits, as ever. In a scope the turn goes to the others.
func (c *Consumer) Pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.paused.Load() {
		return
	}
	c.paused.Store(true)
	if c.box != nil {
		c.box.seal()
		c.box.sweeper.watch(c, c.box.len())
	}
}

// Resume ends a [Consumer.Pause]: the messages that wait are handled, in the
// order in which they came. It returns at once. A consumer that is not paused
// it leaves as it is.
func (c *Consumer) Resume() {
	c.mu.Lock()
	resumed := c.paused.CompareAndSwap(true, false)
	start := false
	if c.box != nil && resumed {
		c.box.sweeper.stop()
		start = c.box.len() > 0 && c.wantsWorkerLocked(0)
	}
	c.mu.Unlock()
	if start {
		c.start()
	}
}

// sweepDelay is how long a message may go on waiting at a paused consumer once
// its time is over, so that not each one is looked for on its own.
const sweepDelay = 100 * time.Millisecond

// sweeper settles what waits in vain at a paused consumer, so that its credit
// comes back. It is guarded by Consumer.mu, and stopped by whoever resumes,
// closes or empties the consumer.
type sweeper struct {
	timer *time.Timer
	at    int64 // when it fires, if it is set
}

func (s *sweeper) stop() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil // not to be kept in a pool: a test with virtual time ends with its timers
	}
}

// watch sees to it that the last n messages that came to c are settled when their time is
// over. The caller holds Consumer.mu.
func (s *sweeper) watch(c *Consumer, n int) {
	due := int64(math.MaxInt64)
	ms := c.box.waiting()
	for _, m := range ms[len(ms)-n:] {
		due = min(due, m.deadline)
	}
	if n > 0 {
		s.when(c, due)
	}
}

// when has c swept when due is over. The caller holds Consumer.mu.
func (s *sweeper) when(c *Consumer, due int64) {
	now := c.node.clock.now()
	at := max(due, now) + int64(sweepDelay)
	switch d := time.Duration(at - now); {
	case s.timer == nil:
		s.timer = time.AfterFunc(d, c.sweep)
	case at < s.at:
		s.timer.Reset(d)
	default:
		return
	}
	s.at = at
}

// gaveUp notes that the requester of a message has given up.
func (c *Consumer) gaveUp() {
	if !c.paused.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.box.len() > 0 && c.paused.Load() {
		c.box.sweeper.when(c, 0)
	}
}

// sweep settles the messages whose time is over, and sets the timer for the
// others.
func (c *Consumer) sweep() {
	c.mu.Lock()
	if c.box == nil || !c.paused.Load() {
		c.mu.Unlock()
		return
	}
	c.box.sweeper.stop()
	due := int64(math.MaxInt64)
	gone := c.box.take(func(m *Message) bool {
		if m.lapsed() {
			return true
		}
		due = min(due, m.deadline)
		return false
	})
	c.passLocked(gone...)
	if c.box.len() > 0 {
		c.box.sweeper.when(c, due)
	}
	c.restIfIdleLocked()
	c.mu.Unlock()
	for _, m := range gone {
		if l := m.handled(); l != nil {
			l.soon()
		}
	}
	if len(gone) > 0 {
		c.local.home.grant()
	}
}
