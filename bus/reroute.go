package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxHops is a fuse: a message is not sent back more often. Where consumers
// come and go all the time a message may meet one that closes many times in a
// row, each time by chance, so the fuse is far from that.
const maxHops = 200

// reroute gives a message that was sent back to another consumer of the
// address, or lets it wait for one at the head of the line, behind those that
// were sent back before it. takenBack says that no consumer has had all of it.
func (c *core) reroute(address string, o *outgoing, takenBack bool) {
	if o.choice&toOne != 0 { // asked of that consumer, and no other
		o.call.answer(answer{err: errConsumerClosed})
		return
	}
	c.stats.rerouted.Add(1)
	if o.head[fHops] > maxHops {
		c.bookAt(address, rareRerouted)
		c.dead(address, o, fmt.Errorf("%w of %q kept it: it was sent back %d times", ErrNoConsumer, address, maxHops))
		return
	}
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
		if len(*r.routes.Load()) > 0 && !r.open(o) {
			return errNoneMay
		}
	}
	w := &waiter{o: *o, rank: rank}
	if o.call != nil {
		o.call.waits(r, w)
	}
	w.timer = time.AfterFunc(left, func() {
		reason := fmt.Errorf("%w of %q took it in time: %w", ErrNoConsumer, r.address, context.DeadlineExceeded)
		if r.remove(w, reason) {
			r.core.dead(r.address, &w.o, reason)
			r.core.forget(r)
		}
	})
	r.enqueueLocked(w)
	return nil
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
