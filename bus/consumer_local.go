package bus

// What a node sends to its own consumers goes straight to their mailboxes, on a
// route like any other: with a window, and with credit that comes back when a
// message has left its mailbox.

// creditLocked reports whether there is credit for a message of this node's, and
// finds some: if it had to wait the window may grow.
func (c *Consumer) creditLocked(o *outgoing) bool {
	rt := &c.local
	if rt.credit() <= 0 || rt.stalled {
		c.passBatchLocked(1)
	}
	return rt.credit() > 0 || o.head.Starved() && c.growLocked(o)
}

// post gives a message of this node's to the consumer, if there is credit.
func (c *Consumer) post(rt *route, o *outgoing) bool {
	c.mu.Lock()
	if rt.removed || c.node.leave.at(busGone) || !c.creditLocked(o) {
		c.mu.Unlock()
		return false
	}
	ok, start := c.acceptLocked(rt, o)
	c.mu.Unlock()
	if start {
		c.start()
	}
	return ok
}

// acceptLocked charges the route and puts the message into the mailbox, unless it
// is a request that has ended. It reports whether a worker should start.
func (c *Consumer) acceptLocked(rt *route, o *outgoing) (ok, start bool) {
	c.openLocked()
	m := c.box.slab.message(o, c.node.bodies)
	m.in, m.deadline, m.cost, m.id = c.node.originOf(c), o.due(c.node.services), uint32(o.cost), uint64(o.choice)
	m.bits = traits(uint8(o.head.Kind()), o.codec, uint8(o.head.Hops()))
	m.setRare(o.header, o.choice.comeTo(c, o.head.Kind()))
	if o.call != nil {
		if m.id = c.node.pend.add(o.call, 0, m); m.id == 0 {
			c.restIfIdleLocked()
			return false, false
		}
		rt.home.count(countRequested, 1)
	}
	rt.charge(o.cost)
	c.node.stats.add(countSentLocal, 1)
	c.box.push(m)
	return true, c.wantsWorkerLocked(1)
}

// originOf returns the origin of this node's messages to a consumer. The caller holds
// Consumer.mu.
func (n *ownNode) originOf(c *Consumer) *origin {
	if c.own == nil {
		c.own = &origin{services: n.services, to: c, back: n}
	}
	return c.own
}

// growLocked doubles the window for messages of this node's, one of which had to
// wait. It reports whether there is credit then. The caller holds c.mu.
func (c *Consumer) growLocked(o *outgoing) bool {
	if c.box == nil || c.paused.Load() {
		return false
	}
	rt, now := &c.local, c.node.clock.now()
	more := min(rt.window, int64(c.window)-rt.window)
	keepsUp := c.box.growth.may(rt.settled, rt.unsettled, rt.unsettled, now, o.due(c.node.services)-now)
	if more <= 0 || !keepsUp || !c.node.pool.take(more, now) {
		return false
	}
	rt.window += more
	return rt.credit() > 0
}
