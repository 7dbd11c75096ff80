package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// A message that was sent back more than freeHops times (rule 8), as happens by chance
// where consumers come and go all the time, rests before it is given to another consumer,
// each time longer: so it cannot go round at full speed, and the consumers that stay get to
// have room.
const (
	freeHops = 16
	maxHops  = 255 // that are counted
	firstNap = time.Millisecond
	longNap  = 256 * time.Millisecond
)

// nextHop returns the hops of a message that is sent back once more.
func nextHop(hops uint8) uint64 { return min(uint64(hops)+1, maxHops) }

// nap (rule 8) is how long a message rests that was sent back hops times and has left
// until its deadline.
func nap(hops uint64, left time.Duration) time.Duration {
	if hops <= freeHops {
		return 0
	}
	return max(firstNap, min(firstNap<<min(hops-freeHops-1, 16), longNap, left/2))
}

var errNoneMay = errors.New("no consumer may take it")

// takeBackLocked lets a message that was sent back wait at the head of the
// line. It returns an error if there is nothing to wait for: errNoneMay if closedTo tells
// the reason, errEnded if the caller does not wait for the answer any more.
func (r *ring) takeBackLocked(o *outgoing, left time.Duration, rank uint64) error {
	if r.leave.at(busGone) {
		return fmt.Errorf("%w before %q had a consumer for it", ErrClosed, r.address)
	}
	if left <= 0 {
		return r.late(o)
	}
	if o.call != nil {
		o.turn = o.call.turn
		if r.holdsTurnOfAll(o) {
			return errNoneMay
		}
	}
	w := &waiter{ring: r, o: *o, rank: rank}
	if o.call != nil && !o.call.waits(w) {
		return errEnded
	}
	rest := nap(o.head.Hops(), left)
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
	if w.out { // the message waits no longer
		return
	}
	left := time.Duration(w.o.deadline - r.clock.now())
	if r.holdsTurnOfAll(&w.o) {
		left = 0
	}
	w.timer = time.AfterFunc(left, func() { r.expire(w) })
	r.grantLocked()
}

// expire ends the waiting of a message that was sent back: at its deadline, or
// when only its caller's own scope is left.
func (r *ring) expire(w *waiter) {
	reason := r.late(&w.o)
	if r.clock.now() < w.o.deadline {
		if r.waitsOn(w) {
			return
		}
		reason = r.closedTo(&w.o)
	}
	if r.remove(w, reason) {
		r.registry.dead(r.address, &w.o, reason)
		r.registry.forget(r.address)
	}
}

// waitsOn reports whether w waits on, as another consumer has come meanwhile.
func (r *ring) waitsOn(w *waiter) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.out {
		return true // the message waits no longer, and has its end
	}
	if r.holdsTurnOfAll(&w.o) {
		return false
	}
	w.timer.Reset(time.Duration(w.o.deadline - r.clock.now()))
	return true
}

// late is the end of a message that was sent back and found no other consumer in
// time.
func (h *home) late(o *outgoing) error {
	by := ""
	if o.back != "" {
		by = " by " + o.back
	}
	return fmt.Errorf("%w of %q took it in time after it was sent back%s: %w", ErrNoConsumer, h.address, by, context.DeadlineExceeded)
}

// withdraw takes a request whose caller has given up out of the waiting list, and returns
// its error, which at the deadline is the one that expire gives.
func (w *waiter) withdraw(_ *call, _ uint64, why error) answer {
	return answer{err: w.ring.withdraw(w, why)}
}

func (r *ring) withdraw(w *waiter, why error) error {
	defer r.registry.forget(r.address)
	if why != context.DeadlineExceeded {
		r.remove(w, why)
		return &unanswered{atSentBack, why}
	}
	if reason := r.late(&w.o); r.remove(w, reason) {
		r.registry.dead(r.address, &w.o, reason)
		return reason
	}
	return w.err // of who has removed it
}

// waits notes that the message is in a waiting list, unless its call has ended.
func (c *call) waits(w *waiter) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended.Load() {
		return false
	}
	c.at = w
	return true
}

var errNobodyLeft = errors.New("the bus is closing and no consumer is left")

// sendBack sends messages that waited at a closed consumer back to where they
// came from. Those that came on a link are held there already.
func (c *core) sendBack(msgs []*Message) {
	for _, m := range msgs {
		switch {
		case m.state()&byGossip != 0:
			m.in.to.(*Consumer).local.home.lose(LossDropped, 1)
		case !m.in.linked:
			c.takeBack(m)
		}
	}
	if len(msgs) > 0 {
		c.work.placing.Add(-int32(len(msgs)))
		c.leave.recheck()
	}
}

// takeBack takes back a message of this node's from a closing consumer of its
// own.
func (c *core) takeBack(m *Message) {
	cn := m.in.to.(*Consumer)
	cn.mu.Lock()
	cn.local.settle(int64(m.cost), 1)
	over := cn.overLocked()
	cn.mu.Unlock()
	if over {
		c.consumerOver(cn)
	}
	if m.lapsed() {
		c.stats.add(countSettled, 1)
		cn.local.home.bookOutcome(m)
		return
	}
	if m.kind() == kindPublish {
		c.stats.add(countSettled, 1)
		cn.local.home.lose(LossDropped, 1)
		return
	}
	c.stats.add(countBounced, 1)
	cn.local.home.book(countBounced, 1)
	o := outgoing{header: m.Header(), body: m.Body, owned: true, cost: int64(m.cost), deadline: m.deadline, codec: m.codec(), back: c.self.name()}
	o.head[frame.FKind], o.head[frame.FCodec], o.head[frame.FHops] = uint64(m.kind()), c.codecs.onWire(m.codec()), nextHop(m.hops())
	if m.kind() == kindRequest {
		if o.call = c.own.pend.take(m.id); o.call == nil {
			return // it has ended
		}
	}
	o.chosen(m.id)
	c.rings.reroute(cn.address, &o, false)
}
