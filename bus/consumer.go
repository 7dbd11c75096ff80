package bus

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/runrig-go/runrig/bus/internal/guard"
)

// Consumer is a handler at an address.
type Consumer struct {
	node        *ownNode
	address     string
	handler     Handler
	holder      holder      // of its turn, if concurrency is 1
	window      windowLimit // at most maxWindow
	concurrency int32
	made        made

	closed    bool        // guarded by mu
	ended     bool        // its handlers have returned too; guarded by mu
	forgotten bool        // no link and no ring refers to it any more; guarded by core.mu
	paused    atomic.Bool // changed under mu

	// Guarded by core.mu.
	num     uint32                   // 0: not announced to other nodes
	pins    int32                    // links on whose account num may not be used again
	sibling atomic.Pointer[Consumer] // of this node's at the ring, the next older one
	younger *Consumer                // the one whose sibling this is; nil: it is the ring's

	local route // for messages from this node; of no ring: not announced at all

	mu     sync.Mutex
	own    *origin       // of what comes on local; nil: nothing has come
	box    *mailbox      // nil: idle
	counts *counts       // nil: nothing has come
	done   chan struct{} // made when asked for
}

// made is what a consumer was made to be: none or more of these.
type made uint8

const (
	madeLocal     made = 1 << iota // LocalOnly
	madeDeferring                  // Deferring
	madePublished                  // PublishedOnly
)

// consume registers a consumer; announced at once unless the scope is in a Do.
func (eb *EventBus) consume(address string, h Handler, opts []ConsumeOption) (*Consumer, error) {
	if err := checkAddress(address); err != nil {
		return nil, err
	}
	if guard.IsNil(h) {
		return nil, fmt.Errorf("bus: nil handler for %q (%T)", address, h)
	}
	o := consumeOptions{window: defaultWindow, concurrency: 1}
	for _, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("bus: nil option of Consume for %q", address)
		}
		opt.applyConsume(&o)
	}
	if err := cmp.Or(o.check(), checkReserved(address, o.reserved)); err != nil {
		return nil, err
	}
	if h = eb.core.wrap(h); h == nil {
		return nil, fmt.Errorf("bus: an inbound interceptor (WithInbound) made nothing of the handler for %q", address)
	}
	c := &Consumer{
		node: &eb.core.own, address: address, handler: h,
		window: windowLimit(o.window), concurrency: int32(min(o.concurrency, math.MaxInt32)), made: o.made,
	}
	if eb.scope != nil && c.concurrency == 1 {
		c.holder.scope = &eb.scope.turns
	}
	register := eb.core.announce
	if eb.scope != nil && eb.scope.stage(c) { // to be announced at the end of the Do
		register = eb.core.refuseIfClosing
	}
	if err := register(c); err != nil {
		return nil, err
	}
	return c, nil
}

// holds returns the holder of the turn that the consumer has while it handles a message. It
// is nil if the consumer handles several at a time, or c is nil.
func (c *Consumer) holds() *holder {
	if c == nil || c.concurrency != 1 {
		return nil
	}
	return &c.holder
}

// Address returns the address that the consumer listens on.
func (c *Consumer) Address() string { return c.address }

// Close ends the consumer: from here on no message is handled that its handler
// has not begun. It returns at once; a handler that runs goes on, and what waits
// is sent back to its senders, who give it to another consumer of the address.
// Closing again does nothing.
func (c *Consumer) Close() error {
	c.node.consumers.closeConsumer(c)
	return nil
}

// overLocked reports whether the consumer is closed, its handlers have returned, and
// what this node had sent to it is settled: its counters do not change any more.
func (c *Consumer) overLocked() bool {
	return c.closed && c.local.unsettled == 0 && !c.box.busy()
}

// close marks the consumer closed and returns the messages that waited; first says
// whether it was not closed before, and over what overLocked does. The caller holds
// core.mu.
func (c *Consumer) close() (msgs []*Message, over, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false, false
	}
	c.closed = true
	c.local.remove()
	c.bookCounts()
	msgs = c.box.take(func(*Message) bool { return true })
	c.node.work.placing.Add(int32(len(msgs))) // until sendBack
	c.restIfIdleLocked()
	c.closedLocked()
	return msgs, c.overLocked(), true
}

// Done returns a channel that is closed when the consumer is closed and its
// handlers have returned.
func (c *Consumer) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.ended {
			close(c.done)
		}
	}
	return c.done
}

// closedLocked tells, once, that the consumer is closed and its handlers have
// returned, if that is so: where either comes about.
func (c *Consumer) closedLocked() {
	if !c.closed || c.ended || c.box.busy() {
		return
	}
	c.ended = true
	if c.done != nil {
		close(c.done)
	}
	if c.node.events.wanted() && c.local.home != nil {
		c.node.events.note(ConsumerClosed{c.address})
	}
}

// Known waits until all nodes that were linked at the call know the consumer,
// or their links have ended; it returns at once on a bus without links. It
// returns the error of ctx, or [ErrClosed] if the consumer is closed meanwhile
// or not announced yet, as in [EventBus.Do].
func (c *Consumer) Known(ctx context.Context) error { return c.node.consumers.awaitKnown(ctx, c) }

// handles reports whether the message's handler has begun.
func (c *Consumer) handles(m *Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.box.handling(), m)
}

func (c *Consumer) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}
