package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A message that was sent back more than freeHops times, as happens by chance
// where consumers come and go all the time, rests before it is given to another,
// ever longer: so that it cannot go round at full speed, and those that stay get to
// have room.
const (
	freeHops = 16
	maxHops  = 255 // that are counted
	firstNap = time.Millisecond
	longNap  = 256 * time.Millisecond
)

// nextHop counts one more.
func nextHop(hops uint8) uint64 { return min(uint64(hops)+1, maxHops) }

// nap is how long a message rests that was sent back so often and has that long
// left.
func nap(hops uint64, left time.Duration) time.Duration {
	if hops <= freeHops {
		return 0
	}
	return max(firstNap, min(firstNap<<min(hops-freeHops-1, 16), longNap, left/2))
}

// reroute gives a message that was sent back to another consumer of the
// address, or lets it wait for one at the head of the line, behind those that
// were sent back before it. takenBack says that no consumer has had all of it.
func (c *core) reroute(address string, o *outgoing, takenBack bool) {
	if o.choice&toOne != 0 { // asked of that consumer, and no other
		o.call.answer(answer{err: errConsumerClosed})
		return
	}
	c.stats.rerouted.Add(1)
	left := o.due(c) - c.clock()
	o.head[fTimeLeft] = wholeMs(left)
	c.mu.Lock()
	r := c.ringOf(address)
	r.mu.Lock() // before core.mu is let go of: nobody forgets the ring meanwhile
	c.mu.Unlock()
	reason := r.takeBackLocked(o, time.Duration(left), o.rank(takenBack))
	r.mu.Unlock()
	if reason == errNoneMay {
		reason = r.closedTo(o) // which may take core.mu
	}
	r.book(rareRerouted, 1)
	if reason != nil {
		c.dead(address, o, reason)
		c.forget(r)
	}
}

var errNoneMay = errors.New("no consumer may take it")

// takeBackLocked lets a message that was sent back wait at the head of the
// line. It returns an error if there is nothing to wait for, errNoneMay if that is
// closedTo's to explain.
func (r *ring) takeBackLocked(o *outgoing, left time.Duration, rank uint64) error {
	if r.core.closed.Load() {
		return fmt.Errorf("%w before %q had a consumer for it", ErrClosed, r.address)
	}
	if o.call != nil {
		o.turn = o.call.turn
		if r.routes.Load().len() > 0 && !r.open(o) {
			return errNoneMay
		}
	}
	w := &waiter{o: *o, rank: rank}
	if o.call != nil {
		o.call.waits(r, w)
	}
	rest := nap(o.head[fHops], left)
	if w.rests = rest > 0; w.rests && rest < left {
		w.timer = time.AfterFunc(rest, func() { r.wake(w) })
	} else {
		w.timer = time.AfterFunc(left, func() { r.expire(w) })
	}
	r.enqueueLocked(w)
	return nil
}

// wake lets a message that has rested be placed.
func (r *ring) wake(w *waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.rests = false
	if r.line == nil || !w.lane.holds(w) { // it is gone
		return
	}
	w.timer = time.AfterFunc(time.Duration(w.o.deadline-r.core.clock()), func() { r.expire(w) })
	r.grantLocked()
}

// expire ends the waiting of a message at its deadline.
func (r *ring) expire(w *waiter) {
	reason := fmt.Errorf("%w of %q took it in time: %w", ErrNoConsumer, r.address, context.DeadlineExceeded)
	if r.remove(w, reason) {
		r.core.dead(r.address, &w.o, reason)
		r.core.forget(r)
	}
}

// waits notes in which waiting list the message is.
func (c *call) waits(r *ring, w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in, c.ring, c.w = nil, r, w
}

// dead counts a message that cannot be placed, tells of it, and answers the
// request if it is one.
func (c *core) dead(address string, o *outgoing, reason error) {
	c.stats.deadLetters.Add(1)
	c.bookAt(address, rareDeadLetter)
	if o.call != nil {
		o.call.answer(answer{err: reason})
	}
	c.sparse.warn(c.log, "dead letter", "address", address, "err", reason)
	if c.events.tell != nil {
		c.events.note(DeadLetter{Address: address, Header: o.header, Body: o.body, Request: o.head[fKind] == kindRequest, Reason: reason})
	}
}

func (c *core) forget(r *ring) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tidy(r)
}

var errNobodyLeft = errors.New("the bus is closing and no consumer is left")

// endWaiting ends the waiting of all messages in the rings for which why has
// an error.
func (c *core) endWaiting(why func(*ring) error) {
	for _, r := range c.dir.all() {
		reason := why(r)
		if reason == nil {
			continue
		}
		r.mu.Lock()
		var ws []*waiter
		if line := r.line; line != nil {
			ws = slices.Concat(line.any.back, line.any.queue)
			for _, l := range line.lanes {
				ws = append(append(ws, l.back...), l.queue...)
			}
		}
		r.mu.Unlock()
		for _, w := range ws {
			if r.remove(w, reason) && w.ready == nil {
				c.dead(r.address, &w.o, reason)
			}
		}
		c.forget(r)
	}
}
