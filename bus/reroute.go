package bus

import (
	"errors"
	"fmt"
	"time"
)

// DeadLetter is a message that was sent back and could not be placed with
// another consumer.
type DeadLetter struct {
	Address string
	Header  Header
	Body    []byte // as encoded
	Request bool   // whether it was a request, whose caller has got the reason as its error
	Reason  error
}

// maxHops is a fuse: a message is not sent back more often.
const maxHops = 16

// reroute gives a message that was sent back to another consumer of the
// address, or lets it wait for one at the head of the line, behind those that
// were sent back before it.
func (c *core) reroute(address string, o *outgoing) {
	c.stats.rerouted.Add(1)
	if o.head[fHops] > maxHops {
		c.dead(address, o, fmt.Errorf("%w of %q kept it: it was sent back %d times", ErrNoConsumer, address, maxHops))
		return
	}
	left := o.due(c) - c.clock()
	o.head[fTimeLeft] = wholeMs(left)
	c.mu.Lock()
	r := c.ringOf(address)
	r.mu.Lock() // before core.mu is let go of: nobody forgets the ring meanwhile
	c.mu.Unlock()
	defer r.mu.Unlock()
	if c.closed.Load() {
		c.dead(address, o, fmt.Errorf("%w before %q had a consumer for it", ErrClosed, address))
		return
	}
	w := &waiter{o: *o}
	w.timer = time.AfterFunc(time.Duration(left), func() {
		if r.remove(w) {
			c.dead(address, &w.o, fmt.Errorf("%w: no consumer of %q took it in time", ErrNoConsumer, address))
			c.forget(r)
		}
	})
	r.back = append(r.back, w)
	r.waiting.Add(1)
	c.waiting.Add(1)
	r.grantLocked()
}

// dead counts a message that cannot be placed, tells the hook, and answers the
// request if it is one.
func (c *core) dead(address string, o *outgoing, reason error) {
	c.stats.deadLetters.Add(1)
	if o.call != nil {
		o.call.answer(answer{err: reason})
	}
	c.log.Warn("dead letter", "address", address, "err", reason)
	if c.deadLetter != nil {
		c.deadLetter(DeadLetter{Address: address, Header: o.header, Body: o.body, Request: o.head[fKind] == kindRequest, Reason: reason})
	}
}

func (c *core) forget(r *ring) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tidy(r)
}

var errNobodyLeft = errors.New("the bus is closing and no consumer is left")

// buryUnplaced ends the waiting of messages whose address has no consumer left.
func (c *core) buryUnplaced() {
	for _, r := range c.dir.all() {
		if len(*r.routes.Load()) > 0 {
			continue
		}
		r.mu.Lock()
		ws := append(append([]*waiter(nil), r.back...), r.queue...)
		r.mu.Unlock()
		for _, w := range ws {
			reason := fmt.Errorf("%w of %q: %w", ErrNoConsumer, r.address, errNobodyLeft)
			if w.ready != nil {
				w.err = reason
			}
			if r.remove(w) && w.ready == nil {
				c.dead(r.address, &w.o, reason)
			}
		}
	}
}
