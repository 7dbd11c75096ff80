package bus

import (
	"runtime/debug"
	"slices"
	"sync"
)

// mailbox is the messages that wait for a consumer and those that it handles.
// It is guarded by Consumer.mu.
type mailbox struct {
	box     *[]*Message // what in came in
	in      []*Message
	head    int        // in[head:] waits
	running []*Message // being handled
	workers int        // goroutines, or turns asked for

	gossiped int64 // bytes in it that came over the gossip lane
}

// boxes are mailboxes' slices: an idle consumer has none.
var boxes = sync.Pool{New: func() any { b := make([]*Message, 0, 256); return &b }}

func (b *mailbox) len() int { return len(b.in) - b.head }

// room makes room for n more messages, for little: it moves down what waits
// when half of the slice has been handled.
func (b *mailbox) room(n int) {
	if b.in == nil {
		b.box = boxes.Get().(*[]*Message)
		b.in = (*b.box)[:0]
	}
	if b.head > 0 && len(b.in)+n > cap(b.in) && b.head >= len(b.in)/2 {
		k := copy(b.in, b.in[b.head:])
		clear(b.in[k:])
		b.in, b.head = b.in[:k], 0
	}
}

func (b *mailbox) pop() *Message {
	if b.len() == 0 {
		return nil
	}
	m := b.in[b.head]
	b.in[b.head] = nil
	if b.head++; b.head == len(b.in) {
		b.in, b.head = b.in[:0], 0
	}
	b.running = append(b.running, m)
	return m
}

func (b *mailbox) ran(m *Message) {
	i := slices.Index(b.running, m)
	b.running[i] = b.running[len(b.running)-1]
	b.running[len(b.running)-1] = nil
	b.running = b.running[:len(b.running)-1]
}

// empty takes out all that waits.
func (b *mailbox) empty() []*Message {
	msgs := slices.Clone(b.in[b.head:])
	clear(b.in)
	b.in, b.head = b.in[:0], 0
	return msgs
}

// rest gives the slice back when the consumer becomes idle.
func (b *mailbox) rest() {
	if b.in != nil && cap(b.in) <= 4096 {
		*b.box = b.in[:0]
		boxes.Put(b.box)
	}
	b.in, b.box = nil, nil
}

// putLocked appends messages and reports whether a worker should start.
// The caller holds c.mu.
func (c *Consumer) putLocked(ms []Message) (start bool) {
	c.room(len(ms))
	for i := range ms {
		c.in = append(c.in, &ms[i])
	}
	if c.workers == c.concurrency || len(c.running) < c.workers { // one is about to look
		return false
	}
	if c.workers++; c.workers == 1 {
		c.core.active.Add(1)
	}
	return true
}

// start runs a worker, in turn if the consumer is in a scope. It ends when the
// mailbox is empty; closing the bus waits for it.
func (c *Consumer) start() {
	c.core.tick()
	if c.scope != nil {
		c.scope.push(c)
	} else {
		go c.run()
	}
}

// work handles what is there.
func (c *Consumer) work() { c.drain(nil, -1) }

// drain ends the handling of last, if it is not nil, and handles up to n
// messages, all if n is negative. It reports whether there is more. Frames that
// it left unwritten go out when the mailbox is empty, by itself, or before the
// next handler runs, by the link's writer.
func (c *Consumer) drain(last *Message, n int) (more bool) {
	var dirty *link
	if last != nil {
		dirty = c.handled(last)
	}
	for ; ; n-- {
		m, busy := c.next(last, n == 0, &dirty)
		if last = m; m == nil {
			if dirty != nil {
				dirty.soon()
			}
			return busy
		}
		if dirty != nil {
			dirty.soon()
			dirty = nil
		}
		dirty = c.handle(m)
	}
}

// next ends the handling of one message and returns the one to handle next. If
// there is none, or stop, the worker's work is done; more says whether some is
// left for it.
func (c *Consumer) next(last *Message, stop bool, dirty **link) (m *Message, more bool) {
	c.mu.Lock()
	grant := last != nil && c.ranLocked(last)
	if stop && c.len() > 0 {
		more = true
	} else if m = c.pop(); m == nil {
		if *dirty != nil { // write before resting: others may come meanwhile
			c.mu.Unlock()
			(*dirty).flush()
			*dirty = nil
			c.mu.Lock()
			m = c.pop()
		}
		if m == nil {
			c.idleLocked()
		}
	}
	spawn := m != nil && c.len() > 0 && c.workers < c.concurrency
	if spawn {
		c.workers++
	}
	c.mu.Unlock()
	if spawn {
		go c.run() // ends as this one does
	}
	if grant {
		c.ring.grant()
	}
	return m, more
}

// idleLocked ends a worker.
func (c *Consumer) idleLocked() {
	if c.workers--; c.workers > 0 {
		return
	}
	c.rest()
	c.shrinkLocked()
	if cap(c.running) > 4 {
		c.running = nil
	}
	c.core.active.Add(-1)
	c.core.poke()
}

// ranLocked settles a message of this node's and reports whether credit should
// be granted to those that wait for it.
func (c *Consumer) ranLocked(m *Message) (grant bool) {
	c.ran(m)
	if c.closed {
		c.doneLocked()
	}
	switch {
	case m.in != &c.own:
		return false
	case m.via == ViaGossip:
		c.gossiped -= int64(m.charge)
		return false
	}
	c.core.stats.settled.Add(1)
	return c.settleLocked(m) || c.len() == 0
}

// settleLocked gives back the credit of a message of this node's.
func (c *Consumer) settleLocked(m *Message) (half bool) {
	c.local.settle(int64(m.charge), 1)
	return c.local.credit() >= c.local.window/2
}

// handle runs the handler and settles the message; it returns the link in
// whose buffer a frame was left.
func (c *Consumer) handle(m *Message) (dirty *link) {
	core := c.core
	switch {
	case m.state.Load()&stateEnded != 0:
		core.stats.canceled.Add(1)
	case core.expired(m.deadline):
		core.stats.expired.Add(1)
	default:
		c.call(m)
	}
	return c.handled(m)
}

// handled settles a message; it returns the link in whose buffer a frame was
// left.
func (c *Consumer) handled(m *Message) (dirty *link) {
	if m.kind == kindRequest {
		dirty = m.in.link
	}
	m.end(stateDone)
	if m.in != &c.own && m.in.settle(m) {
		dirty = m.in.link
	}
	return dirty
}

// call calls the handler and answers a request that it has not. A handler that
// ends its goroutine (runtime.Goexit, as t.FailNow does) ends the worker too;
// another one goes on.
func (c *Consumer) call(m *Message) {
	returned := false
	defer func() {
		switch p := recover(); { // a handler's panic does not end the process
		case p != nil:
			c.core.stats.panics.Add(1)
			c.core.log.Error("handler panicked", "address", c.address, "peer", m.From(), "err", p, "stack", string(debug.Stack()))
			m.fail(&ReplyError{Code: CodePanic, Message: "the handler panicked"})
		case !returned:
			m.fail(&ReplyError{Code: CodePanic, Message: "the handler ended its goroutine"})
			go c.goOn(m) // in place of this one
		}
	}()
	c.core.stats.handled.Add(1)
	ctx := (*handlerContext)(m)
	err := c.handler.Handle(ctx, m)
	switch {
	case err != nil && m.kind == kindRequest && ctx.Err() != nil: // so has the requester's call, for the better reason
	case err != nil && m.kind == kindRequest:
		m.fail(err)
	case err != nil:
		c.core.stats.failed.Add(1)
		c.core.sparse.warn(c.core.log, "handler failed", "address", c.address, "peer", m.From(), "err", err)
	case m.WantsReply():
		m.replyEmpty()
	}
	returned = true
}

// goOn goes on after a handler that ended its goroutine.
func (c *Consumer) goOn(last *Message) {
	if c.scope == nil {
		c.drain(last, -1)
		return
	}
	if c.drain(last, turnLength) {
		c.scope.push(c)
	}
	c.scope.work()
}

// post gives a message of this node's to the consumer, if there is credit.
func (c *Consumer) post(rt *route, o *outgoing) bool {
	c.mu.Lock()
	if rt.removed || c.core.closed.Load() || rt.credit() <= 0 && !c.growLocked() {
		c.mu.Unlock()
		return false
	}
	start := c.putLocked(c.acceptLocked(rt, o))
	c.mu.Unlock()
	if start {
		c.start()
	}
	return true
}

// acceptLocked charges the route and makes the message.
func (c *Consumer) acceptLocked(rt *route, o *outgoing) []Message {
	rt.charge(o.cost)
	c.core.stats.local.Add(1)
	ms := make([]Message, 1)
	m := &ms[0]
	m.Body = o.body
	if !o.owned {
		m.Body = slices.Clone(o.body)
	}
	m.header, m.in, m.deadline, m.charge = o.header, &c.own, o.due(c.core), uint32(o.cost)
	m.kind, m.codec, m.hops, m.local = uint8(o.head[fKind]), uint8(o.head[fCodec]), uint8(o.head[fHops]), o.local
	if o.call != nil {
		m.id = c.core.pend.add(o.call, 0, m)
	}
	return ms
}
