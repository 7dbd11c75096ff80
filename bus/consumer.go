package bus

import (
	"cmp"
	"context"
	"fmt"
	"maps"
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
	holder      holder // of its turn, if concurrency is 1
	window      int32  // at most maxWindow
	concurrency int32
	made        made

	closed    bool        // guarded by mu
	ended     bool        // its handlers have returned too; likewise
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
		window: int32(o.window), concurrency: int32(min(o.concurrency, math.MaxInt32)), made: o.made,
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

func (c *core) refuseIfClosing(cs ...*Consumer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refuseIfClosingLocked(cs)
}

func (c *core) refuseIfClosingLocked(cs []*Consumer) error {
	if c.leave.at(busLeaves) {
		return fmt.Errorf("%w: cannot consume %q", ErrClosed, cs[0].address)
	}
	return nil
}

// announce makes consumers known, here and on all linked nodes.
func (c *core) announce(cs ...*Consumer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refuseIfClosingLocked(cs); err != nil {
		return err
	}
	if err := c.refuseIfManyLocked(cs); err != nil {
		return err
	}
	for _, cn := range cs {
		c.announceLocked(cn)
	}
	for l := range c.links {
		l.soon()
	}
	return nil
}

// refuseIfManyLocked refuses consumers for which there are no numbers.
func (c *core) refuseIfManyLocked(cs []*Consumer) error {
	have := len(c.consumers) - 1 - len(c.free) // 0 is no number
	for _, cn := range cs {
		if cn.made&madeLocal != 0 {
			continue
		}
		if have++; have > maxRoutes {
			return fmt.Errorf("%w: cannot consume %q: other nodes know at most %d consumers of this one; use LocalOnly for others", ErrTooLarge, cn.address, maxRoutes)
		}
	}
	return nil
}

func (c *core) announceLocked(cn *Consumer) {
	cn.mu.Lock()
	closed := cn.closed
	cn.mu.Unlock()
	if closed { // by its maker, before anybody knew it
		return
	}
	r := c.ringOf(cn.address)
	if cn.made&madeLocal == 0 {
		c.numberOf(cn) // before readers of links find it in mine
	}
	cn.local = route{home: &r.home, to: cn, window: cn.firstWindow(), num: cn.num}
	if old := r.mine.Load(); old != nil {
		cn.sibling.Store(old)
		old.younger = cn
	}
	r.mine.Store(cn)
	c.addRoute(&cn.local)
	if c.events.wanted() {
		c.events.note(ConsumerOpened{cn.address})
	}
	if cn.made&madeLocal == 0 {
		for l := range c.links {
			l.announce(cn)
		}
	}
	r.grant() // messages may wait for it
	c.linked.fire()
}

// numberOf gives the consumer a number that no link knows any more.
func (c *core) numberOf(cn *Consumer) {
	if n := len(c.free); n > 0 {
		cn.num, c.free = c.free[n-1], c.free[:n-1]
		c.consumers[cn.num] = cn
		return
	}
	cn.num = uint32(len(c.consumers))
	c.consumers = append(c.consumers, cn)
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

func (c *core) closeConsumer(cn *Consumer) {
	c.mu.Lock()
	msgs, first := c.shut(cn)
	announced := cn.local.home != nil
	if first && announced {
		c.dropRoutes([]*route{&cn.local})
		if cn.num != 0 {
			back := byLink(msgs)
			for l := range c.links {
				l.retract(cn, back[l])
			}
		}
		c.forgetConsumer(cn)
	}
	c.mu.Unlock()
	c.sendBack(msgs)
	if first && announced {
		c.releaseKeys([]*route{&cn.local})
		cn.local.home.grant()
	}
}

// shut marks a consumer closed and returns the messages that waited; first says whether
// it was not closed before. The caller holds core.mu, and takes the route out of its
// ring then.
func (c *core) shut(cn *Consumer) (msgs []*Message, first bool) {
	msgs, over, first := cn.close()
	if first && !over {
		c.late[cn] = struct{}{}
	}
	return msgs, first
}

// forgetConsumer forgets a closed consumer that nothing refers to any more. The caller
// holds core.mu.
func (c *core) forgetConsumer(cn *Consumer) {
	if cn.pins > 0 {
		return
	}
	at, older := &cn.local.ring().mine, cn.sibling.Load()
	if cn.younger != nil {
		at = &cn.younger.sibling
	}
	at.Store(older) // who is at cn goes on from there
	if older != nil {
		older.younger = cn.younger
	}
	cn.younger = nil
	c.unnumber(cn)
	cn.forgotten = true
	if _, late := c.late[cn]; !late {
		c.books.bookConsumer(cn)
	}
	c.tidy(cn.local.ring())
}

// unnumber frees a consumer's number. The caller holds core.mu.
func (c *core) unnumber(cn *Consumer) {
	if cn.num == 0 {
		return
	}
	c.consumers[cn.num] = nil
	c.free = append(c.free, cn.num)
	if len(c.free) == len(c.consumers)-1 {
		c.consumers, c.free = shrunk(c.consumers[:1]), shrunk(c.free[:0])
	}
}

// consumerOver forgets a closed consumer of which nothing is under way any more.
func (c *core) consumerOver(cn *Consumer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, late := c.late[cn]; !late {
		return
	}
	delete(c.late, cn)
	if cn.forgotten {
		c.books.bookConsumer(cn)
	}
}

// overLocked reports whether the consumer is closed, its handlers have returned, and
// what this node had sent to it is settled: its counters do not change any more.
func (c *Consumer) overLocked() bool {
	return c.closed && c.local.unsettled == 0 && !c.box.busy()
}

// unpin takes back what links hold of closed consumers.
func (c *core) unpin(cs ...*Consumer) {
	for part := range slices.Chunk(cs, dropStep) {
		c.mu.Lock()
		for _, cn := range part {
			if cn.pins--; cn.pins == 0 {
				c.forgetConsumer(cn)
			}
		}
		c.mu.Unlock()
	}
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
	c.local.removed = true
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

func (c *core) awaitKnown(ctx context.Context, cn *Consumer) error {
	c.mu.Lock()
	links := slices.Collect(maps.Keys(c.links))
	announced := cn.local.home != nil
	c.mu.Unlock()
	if !announced {
		return fmt.Errorf("%w: consumer of %q is not announced", ErrClosed, cn.address)
	}
	for _, l := range links {
		if err := l.awaitKnown(ctx, cn); err != nil {
			return err
		}
	}
	return nil
}
