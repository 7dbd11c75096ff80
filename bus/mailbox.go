package bus

import (
	"runtime/debug"
	"slices"
	"sync"
)

// mailbox is the messages that wait for a consumer and those that it handles. A
// consumer has one only while it has work: an idle one costs little. It is
// guarded by Consumer.mu; nil is an empty one.
type mailbox struct {
	in       []*Message
	head     int        // in[head:] waits
	running  []*Message // being handled
	workers  int        // goroutines, or turns asked for
	gossiped int64      // bytes in it that came over the gossip lane
}

var mailboxes = sync.Pool{New: func() any { return &mailbox{in: make([]*Message, 0, 256)} }}

func (b *mailbox) waiting() []*Message {
	if b == nil {
		return nil
	}
	return b.in[b.head:]
}

func (b *mailbox) len() int { return len(b.waiting()) }

func (b *mailbox) busy() bool { return b != nil && len(b.running) > 0 }

// push appends a message, for little: it moves down what waits when half of the
// slice has been handled.
func (b *mailbox) push(m *Message) {
	if b.head > 0 && len(b.in) == cap(b.in) && b.head >= len(b.in)/2 {
		k := copy(b.in, b.in[b.head:])
		clear(b.in[k:])
		b.in, b.head = b.in[:k], 0
	}
	b.in = append(b.in, m)
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

// take takes out the messages that wait and for which which says so.
func (b *mailbox) take(which func(*Message) bool) (taken []*Message) {
	if b == nil {
		return nil
	}
	left := b.in[:0]
	for _, m := range b.waiting() {
		if which(m) {
			taken = append(taken, m)
		} else {
			left = append(left, m)
		}
	}
	clear(b.in[len(left):])
	b.in, b.head = left, 0
	return taken
}

// find finds a request that waits or is being handled.
func (b *mailbox) find(in *inbound, id uint64) *Message {
	if b == nil {
		return nil
	}
	for _, list := range [][]*Message{b.running, b.waiting()} {
		for _, m := range list {
			if m.in == in && m.id == id && m.kind == kindRequest {
				return m
			}
		}
	}
	return nil
}

// restLocked gives the mailbox back when the consumer becomes idle.
func (c *Consumer) restLocked() {
	c.box.gossiped = 0 // also of what was taken out
	if cap(c.box.in) <= 4096 {
		mailboxes.Put(c.box)
	}
	c.box = nil
}

// putLocked appends messages and reports whether a worker should start. The
// caller holds c.mu.
func (c *Consumer) putLocked(ms []Message) (start bool) {
	c.openLocked()
	for i := range ms {
		c.box.push(&ms[i])
	}
	return c.wantsWorkerLocked()
}

func (c *Consumer) openLocked() {
	if c.box == nil {
		c.box = mailboxes.Get().(*mailbox)
	}
}

func (c *Consumer) wantsWorkerLocked() bool {
	b := c.box
	if b.workers == int(c.concurrency) || len(b.running) < b.workers { // one is about to look
		return false
	}
	if b.workers++; b.workers == 1 {
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
	if stop && c.box.len() > 0 {
		more = true
	} else if m = c.box.pop(); m == nil {
		if *dirty != nil { // write before resting: others may come meanwhile
			c.mu.Unlock()
			(*dirty).flush()
			*dirty = nil
			c.mu.Lock()
			m = c.box.pop()
		}
		if m == nil {
			c.idleLocked()
		}
	}
	spawn := m != nil && c.box.len() > 0 && c.box.workers < int(c.concurrency)
	if spawn {
		c.box.workers++
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
	if c.box.workers--; c.box.workers > 0 {
		return
	}
	c.restLocked()
	c.shrinkLocked()
	c.core.active.Add(-1)
	c.core.poke()
}

// ranLocked settles a message of this node's and reports whether credit should
// be granted to those that wait for it.
func (c *Consumer) ranLocked(m *Message) (grant bool) {
	c.box.ran(m)
	if c.closed {
		c.doneLocked()
	}
	switch {
	case m.in.link != nil:
		return false
	case m.via == ViaGossip:
		c.box.gossiped -= int64(m.charge)
		return false
	}
	c.core.stats.settled.Add(1)
	return c.settleLocked(m) || c.box.len() == 0
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
	if m.in.link != nil && m.in.settle(m) {
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
	start := c.acceptLocked(rt, o)
	c.mu.Unlock()
	if start {
		c.start()
	}
	return true
}

// withBody is a message and its small body in one piece of memory.
type withBody struct {
	Message
	body [128]byte
}

// newMessage returns a message whose body is a copy, or b itself if it is owned.
func newMessage(b []byte, owned bool) *Message {
	switch {
	case owned || len(b) == 0:
		return &Message{Body: b}
	case len(b) <= len(withBody{}.body):
		w := new(withBody)
		n := copy(w.body[:], b)
		w.Body = w.body[:n:n]
		return &w.Message
	}
	return &Message{Body: slices.Clone(b)}
}

// acceptLocked charges the route and puts the message into the mailbox. It
// reports whether a worker should start.
func (c *Consumer) acceptLocked(rt *route, o *outgoing) (start bool) {
	rt.charge(o.cost)
	c.core.stats.local.Add(1)
	m := newMessage(o.body, o.owned)
	m.header, m.in, m.deadline, m.charge = o.header, c.ownLocked(), o.due(c.core), uint32(o.cost)
	m.kind, m.codec, m.hops, m.id = uint8(o.head[fKind]), uint8(o.head[fCodec]), uint8(o.head[fHops]), uint64(o.choice)
	if o.call != nil {
		m.id = c.core.pend.add(o.call, 0, m)
	}
	c.openLocked()
	c.box.push(m)
	return c.wantsWorkerLocked()
}

// ownLocked returns where messages of this node's come from.
func (c *Consumer) ownLocked() *inbound {
	if c.own == nil {
		c.own = &inbound{consumer: c}
	}
	return c.own
}
