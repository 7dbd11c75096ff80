package bus

import (
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

// mailbox is the messages that wait for a consumer and those that it handles. A
// consumer has one only while it has work: an idle one costs little. It is
// guarded by Consumer.mu but for begin; nil is an empty one.
//
// The worker of a consumer that handles one message at a time takes a batch of
// them under the lock and begins each without it. Who wants what it has not begun
// seals the batch: the rest waits again, and the worker comes to the lock.
type mailbox struct {
	in       []*Message
	head     int                // in[head:] waits
	batch    [batchMax]*Message // written by the worker
	taken    int                // messages of batch; likewise
	begun    atomic.Uint32      // of those; sealed says that no other may be
	passed   int                // of those: settled
	running  []*Message         // being handled, where several are at a time
	workers  int                // goroutines, or turns asked for
	gossiped int64              // bytes in it that came over the gossip lane
	sweeper  sweeper            // while the consumer is paused
}

const (
	batchMax = 32
	sealed   = 1 << 31
)

var mailboxes = sync.Pool{New: func() any { return &mailbox{in: make([]*Message, 0, 256)} }}

func (b *mailbox) waiting() []*Message {
	if b == nil {
		return nil
	}
	return b.in[b.head:]
}

func (b *mailbox) len() int { return len(b.waiting()) }

// begin begins the next message of the batch; it returns nil if there is none.
// Only the worker calls it, without the lock.
func (b *mailbox) begin() *Message {
	i := b.begun.Load()
	if i >= uint32(b.taken) || !b.begun.CompareAndSwap(i, i+1) {
		return nil
	}
	return b.batch[i]
}

// progress returns how many messages of the batch are begun, and how many are the
// worker's still to begin.
func (b *mailbox) progress() (begun, rest int) {
	n := b.begun.Load()
	if n&sealed != 0 {
		return int(n &^ sealed), 0
	}
	return int(n), b.taken - int(n)
}

// handling returns the messages whose handlers run; some of them may have
// returned meanwhile.
func (b *mailbox) handling() []*Message {
	if b == nil {
		return nil
	}
	if n := b.begun.Load() &^ sealed; n > 0 {
		return b.batch[:n]
	}
	return b.running
}

func (b *mailbox) busy() bool { return len(b.handling()) > 0 }

// claim takes the next messages that wait, at most n unless that is negative,
// into the batch, which is over.
func (b *mailbox) claim(n int) {
	if n < 0 {
		n = batchMax
	}
	ms := b.waiting()
	ms = ms[:min(len(ms), n, batchMax)]
	clear(b.batch[:b.taken])
	b.taken, b.passed = copy(b.batch[:], ms), 0
	b.begun.Store(0)
	clear(ms)
	if b.head += len(ms); b.head == len(b.in) {
		b.in, b.head = b.in[:0], 0
	}
}

// seal lets what the worker has not begun wait again.
func (b *mailbox) seal() {
	n := b.begun.Or(sealed)
	if n&sealed != 0 || n >= uint32(b.taken) {
		return
	}
	ms := b.batch[n:b.taken]
	if b.head < len(ms) {
		b.in = slices.Insert(b.in, b.head, ms...)
		return
	}
	b.head -= len(ms)
	copy(b.in[b.head:], ms)
}

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
	b.seal()
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
	for _, list := range [][]*Message{b.running, b.batch[:b.taken], b.waiting()} {
		for _, m := range list {
			if m.in == in && m.id == id && m.kind == kindRequest {
				return m
			}
		}
	}
	return nil
}

// restIfIdleLocked makes the consumer idle if it has no message and no worker.
func (c *Consumer) restIfIdleLocked() {
	if b := c.box; b != nil && b.workers == 0 && b.len() == 0 {
		c.restLocked()
		c.shrinkLocked()
	}
}

// restLocked gives the mailbox back when the consumer becomes idle.
func (c *Consumer) restLocked() {
	c.box.gossiped = 0 // also of what was taken out
	c.box.sweeper.stop()
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
	return c.wantsWorkerLocked(len(ms))
}

func (c *Consumer) openLocked() {
	if c.box == nil {
		c.box = mailboxes.Get().(*mailbox)
	}
	if c.counts == nil {
		c.counts = new(counts)
	}
}

// wantsWorkerLocked reports whether a worker should start, now that so many
// messages have come. It counts it.
func (c *Consumer) wantsWorkerLocked(came int) bool {
	b := c.box
	if c.paused.Load() {
		c.watchLocked(came)
		return false
	}
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
	box := c.box // it stays while there is a worker
	for ; ; n-- {
		var m *Message
		if c.ring.waiting.Load() == 0 { // else somebody waits for credit, which next gives
			m = box.begin()
		}
		if m == nil {
			m, more = c.next(last, n, &dirty)
		}
		if last = m; m == nil {
			if dirty != nil {
				dirty.soon()
			}
			return more
		}
		if dirty != nil {
			dirty.soon()
			dirty = nil
		}
		dirty = c.handle(m)
	}
}

// next ends the handling of a batch, or of last, and begins another, of at most n
// messages. If there is none, or n is 0, the worker's work is done; more says
// whether some is left for it.
func (c *Consumer) next(last *Message, n int, dirty **link) (m *Message, more bool) {
	c.mu.Lock()
	grant := c.ranLocked(last)
	m = c.pickLocked(n)
	if m == nil && *dirty != nil && c.box.len() == 0 { // write before resting: others may come meanwhile
		c.mu.Unlock()
		(*dirty).flush()
		*dirty = nil
		c.mu.Lock()
		m = c.pickLocked(n)
	}
	if m == nil {
		if more = c.box.len() > 0 && !c.paused.Load(); !more {
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

// pickLocked begins the message to be handled next: none while the consumer is
// paused, or if n is 0.
func (c *Consumer) pickLocked(n int) *Message {
	switch {
	case c.paused.Load() || n == 0:
		return nil
	case c.concurrency > 1:
		return c.box.pop()
	}
	m := c.box.begin()
	if m == nil {
		c.box.claim(n)
		m = c.box.begin()
	}
	return m
}

// idleLocked ends a worker.
func (c *Consumer) idleLocked() {
	if c.box.workers--; c.box.workers > 0 {
		return
	}
	c.restIfIdleLocked()
	c.core.active.Add(-1)
	c.core.poke()
}

// ranLocked settles last, or the worker's batch, and reports whether credit
// should be granted to those that wait for it.
func (c *Consumer) ranLocked(last *Message) (grant bool) {
	b := c.box
	switch {
	case c.concurrency == 1:
		grant = c.passBatchLocked(0)
		if n := b.begun.Load(); n == uint32(b.taken) || n&sealed != 0 {
			clear(b.batch[:b.taken])
			b.taken, b.passed = 0, 0
			b.begun.Store(0)
		}
	case last != nil:
		b.ran(last)
		grant = c.passLocked(last)
	}
	if c.closed {
		c.closedLocked()
	}
	return grant
}

// passBatchLocked settles what was begun of the batch but for the last so many,
// which may be being handled.
func (c *Consumer) passBatchLocked(but int) (grant bool) {
	b := c.box
	if b == nil {
		return false
	}
	for n := int(b.begun.Load()&^sealed) - but; b.passed < n; b.passed++ {
		grant = c.passLocked(b.batch[b.passed]) || grant
	}
	return grant
}

// creditLocked reports whether there is credit for a message of this node's, and
// finds some.
func (c *Consumer) creditLocked() bool {
	rt := &c.local
	if rt.credit() <= 0 || rt.stalled {
		c.passBatchLocked(1)
	}
	return rt.credit() > 0 || c.growLocked()
}

// passLocked settles a message of this node's that has left the mailbox. It
// reports whether credit should be granted.
func (c *Consumer) passLocked(m *Message) (grant bool) {
	c.counts[m.fate]++
	switch {
	case m.in.link != nil:
		return false
	case m.via == ViaGossip:
		c.box.gossiped -= int64(m.charge)
		return false
	}
	c.core.stats.settled.Add(1)
	return c.settleLocked(m) || c.box.len() == 0 || c.paused.Load()
}

// settleLocked gives back the credit of a message of this node's.
func (c *Consumer) settleLocked(m *Message) (half bool) {
	c.local.settle(int64(m.charge), 1)
	return c.local.credit() >= c.local.window/2
}

// handle runs the handler and settles the message; it returns the link in
// whose buffer a frame was left.
func (c *Consumer) handle(m *Message) (dirty *link) {
	if !c.over(m) {
		c.call(m)
	}
	return c.handled(m)
}

// over reports whether a message is not to be handled any more, and counts it.
func (c *Consumer) over(m *Message) bool {
	switch core := c.core; {
	case m.state.Load()&stateEnded != 0:
		m.fate = fateCanceled
		core.stats.canceled.Add(1)
	case core.expired(m.deadline):
		m.fate = fateExpired
		core.stats.expired.Add(1)
	default:
		return false
	}
	return true
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
			m.fate = fatePanicked
			c.core.stats.panics.Add(1)
			c.core.log.Error("handler panicked", "address", c.address, "peer", m.From(), "err", p, "stack", string(debug.Stack()))
			m.fail(&ReplyError{Code: CodePanic, Message: "the handler panicked"})
		case !returned:
			m.fail(&ReplyError{Code: CodePanic, Message: "the handler ended its goroutine"})
			go c.goOn(m) // in place of this one
		}
	}()
	m.fate = fateHandled
	c.core.stats.handled.Add(1)
	ctx := (*handlerContext)(m)
	err := c.handler.Handle(ctx, m)
	switch {
	case err != nil && m.kind == kindRequest && ctx.Err() != nil: // so has the requester's call, for the better reason
	case err != nil && m.kind == kindRequest:
		m.fail(err)
	case err != nil:
		m.fate = fateFailed
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
	if rt.removed || c.core.closed.Load() || !c.creditLocked() {
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
	m.kind, m.codec, m.hops, m.id = uint8(o.head[fKind]), o.codec, uint8(o.head[fHops]), uint64(o.choice)
	if o.call != nil {
		m.id = c.core.pend.add(o.call, 0, m)
	}
	c.openLocked()
	c.box.push(m)
	return c.wantsWorkerLocked(1)
}

// ownLocked returns where messages of this node's come from.
func (c *Consumer) ownLocked() *inbound {
	if c.own == nil {
		c.own = &inbound{consumer: c}
	}
	return c.own
}
