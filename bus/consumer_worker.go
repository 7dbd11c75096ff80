package bus

import (
	"runtime/debug"
)

// consumerWorker is a goroutine that handles the messages of a consumer, or a turn of the
// scope in which they are handled.
type consumerWorker struct{ *Consumer }

// start has a worker run, in turn if the consumer is in a scope. The worker ends when the
// mailbox is empty; closing the bus waits for that.
func (c *Consumer) start() {
	c.node.clock.tick()
	if c.holder.scope != nil {
		c.holder.scope.push(consumerWorker{c})
	} else {
		c.node.crew.start(consumerWorker{c})
	}
}

// work handles messages until the mailbox is empty.
func (c consumerWorker) work() { c.drain(nil, -1) }

// drainSome handles up to n messages, and reports whether there are more.
func (c consumerWorker) drainSome(n int) (more bool) { return c.drain(nil, n) }

// drain ends the handling of last, if it is not nil, and handles up to n messages, all if
// n is negative. It reports whether more messages wait.
//
// A message passes through four steps: begin (or pop) makes it the worker's, call runs the
// handler, handled settles it with its sender, and passLocked takes it off the consumer's
// own account, for a batch of them at a time.
//
// Frames that handling has left in a link's buffer are written by the link's writer before
// the next handler runs, or by this goroutine when the mailbox is empty.
func (c consumerWorker) drain(last *Message, n int) (more bool) {
	var dirty flusher
	if last != nil && !c.park(last) {
		dirty = last.handled()
	}
	home := c.local.home
	box, waiting := c.box, &home.waiting // neither changes while there is a worker
	var timed stint
	for ; ; n-- {
		m := box.begin()
		if m == nil {
			home.endStint(&timed, timed.left-n)
			var stands uint32
			if m, more, stands = c.next(last, n, &dirty); stands > 0 {
				timed = home.beginStint(stands, n)
			}
		} else if waiting.Load() > 0 { // loaded after begin: see passBegun
			c.passBegun()
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
		if !m.lapsed() {
			c.call(m)
		}
		if !c.park(m) {
			dirty = m.handled()
		}
		if timed.each {
			home.endStint(&timed, 1)
			timed = home.beginStint(1, n-1)
		}
	}
}

// next ends the handling of a batch, or of last, begins another batch of at most n messages,
// and returns the first message of it. It returns nil if there is none, or if n is 0: the
// worker's work is done then, and more says whether messages are left. Stands says for how
// many batches this one stands, if it is timed; 0: it is not.
func (c consumerWorker) next(last *Message, n int, dirty *flusher) (m *Message, more bool, stands uint32) {
	c.mu.Lock()
	grant := c.ranLocked(last)
	m = c.pickLocked(n)
	if m == nil && *dirty != nil && !c.box.ready() { // write the frames before the worker ends: messages may come meanwhile
		c.mu.Unlock()
		(*dirty).flush()
		*dirty = nil
		c.mu.Lock()
		m = c.pickLocked(n)
	}
	if m == nil {
		if more = c.box.ready() && !c.paused.Load(); !more {
			c.idleLocked()
		}
	} else {
		stands = c.box.sampler.next(c.node.clock.coarse.Load())
	}
	spawn := m != nil && c.box.ready() && c.box.workers < int(c.concurrency)
	if spawn {
		c.box.workers++
	}
	over := m == nil && c.overLocked()
	c.mu.Unlock()
	if over {
		c.node.consumers.consumerOver(c.Consumer)
	}
	if spawn {
		c.node.crew.start(c)
	}
	if grant {
		c.local.home.grant()
	}
	return m, more, stands
}

// pickLocked begins the message to be handled next: none while the consumer is
// paused, or if n is 0.
func (c *Consumer) pickLocked(n int) *Message {
	switch {
	case c.paused.Load() || n == 0:
		return nil
	case c.concurrency > 1 || c.made&madeDeferring != 0:
		return c.box.pop(c.concurrency > 1)
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
	if c.box.workers--; c.box.workers > 0 || c.box.parked > 0 {
		return
	}
	c.node.idlers.linger(c)
	c.node.work.active.Add(-1)
	c.node.leave.recheck()
}

// ranLocked settles last, or the worker's batch, and reports whether credit
// should be granted to those that wait for it.
func (c *Consumer) ranLocked(last *Message) (grant bool) {
	b := c.box
	switch {
	case c.concurrency == 1 && c.made&madeDeferring == 0:
		grant = c.passBatchLocked(0)
		if n := b.begun.Load(); n == uint32(b.taken) || n&sealed != 0 {
			clear(b.batch[:b.taken])
			b.taken, b.passed = 0, 0
			b.begun.Store(0)
		}
	case last != nil && last.state()&stateParked == 0:
		b.ran(last)
		b.keys.pass(last)
		grant = c.passLocked(last)
	}
	if c.closed {
		c.closedLocked()
	}
	return grant
}

// passBatchLocked passes the messages of the batch that were begun and are not passed yet,
// without the last `running` of them: running is 1 if the handler of the last one may still
// run, 0 if it has returned.
func (c *Consumer) passBatchLocked(running int) (grant bool) {
	b := c.box
	if b == nil {
		return false
	}
	if n := int(b.begun.Load()&^sealed) - running; n > b.passed {
		grant = c.passLocked(b.batch[b.passed:n]...)
		b.passed = n
	}
	return grant
}

// passBegun passes the messages that were handled before the one that was just begun, as
// senders wait for their credit. The worker begins a message before it loads ring.waiting,
// and a sender adds itself to ring.waiting before it loads begun (in creditLocked, by
// passBatchLocked). So the worker sees the sender, or the sender sees what was begun.
func (c *Consumer) passBegun() {
	c.mu.Lock()
	grant := c.passBatchLocked(1)
	c.mu.Unlock()
	if grant {
		c.local.home.grant()
	}
}

// passLocked counts messages that were handled, and gives the credit of the messages that
// this node sent back to the local route. It reports whether the credit is to be granted to senders that
// wait.
func (c *Consumer) passLocked(ms ...*Message) (grant bool) {
	var bytes, n int64
	for _, m := range ms {
		if outcome := m.outcome(); c.closed || outcome == outcomeRefused {
			c.countLocked(m, outcome)
		} else {
			c.counts[outcome]++
		}
		switch {
		case m.in.linked:
		case m.state()&byGossip != 0:
			c.box.gossiped -= int64(m.cost)
		default:
			bytes += int64(m.cost)
			n++
		}
	}
	if n == 0 {
		return false
	}
	c.node.stats.add(countSettled, uint64(n))
	c.local.settle(bytes, n)
	return c.local.credit() >= c.local.window/2 || c.box.len() == 0 || c.paused.Load()
}

// countLocked counts what became of a message, if that is rare or the consumer closed.
func (c *Consumer) countLocked(m *Message, outcome uint8) {
	if outcome == outcomeRefused {
		c.node.stats.add(countFailedRequests, 1)
	}
	if c.closed {
		c.local.home.bookOutcome(m)
	} else {
		c.counts[outcome]++
	}
}

// lapsed reports whether the message is not to be handled any more, and counts it.
func (m *Message) lapsed() bool {
	s := m.state()
	switch {
	case s&stateCanceled != 0:
		m.setOutcome(outcomeCanceled)
		m.in.stats.add(countCanceled, 1)
	case s&stateExpired != 0 || m.in.clock.expired(m.deadline):
		m.expire()
	default:
		return false
	}
	return true
}

// expire counts a message whose deadline was over before a handler could begin. The loss of
// a request is not noted: its caller knows its deadline.
func (m *Message) expire() {
	m.setOutcome(outcomeExpired)
	m.in.stats.add(countExpired, 1)
	if m.kind() != kindRequest {
		m.in.losses.add(LossExpired, m.Address(), 1)
	}
}

// handled settles a message that was handled, or will not be; it returns the link in
// whose buffer a frame was left.
func (m *Message) handled() (dirty flusher) {
	m.done()
	if !m.in.linked {
		return nil
	}
	return m.in.back.handled(m)
}

// call calls the handler, and answers a request that the handler has not answered. A panic
// of the handler ends here. A handler that ends its goroutine (runtime.Goexit, as t.FailNow
// does) ends the worker too; another worker goes on in its place.
func (c consumerWorker) call(m *Message) {
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover() // a handler's panic does not end the process
		c.failed(m, p)
		if p == nil {
			go c.goOn(m) // in place of this goroutine
		}
	}()
	c.node.stats.add(countHandled, 1)
	ctx := (*handlerContext)(m)
	err := c.handler.Handle(ctx, m)
	switch {
	case err != nil && m.kind() == kindRequest && ctx.Err() != nil:
		// The requester's call has ended with its context, which is the better reason.
	case err != nil && m.kind() == kindRequest:
		m.setOutcome(outcomeRefused)
		m.fail(err)
	case err != nil:
		m.setOutcome(outcomeFailed)
		c.node.stats.add(countFailed, 1)
		c.node.warnings.warn("handler failed", "address", c.address, "peer", m.From(), "err", err)
	case m.WantsReply():
		m.replyEmpty()
	}
	returned = true
}

// failed answers and logs that the handler panicked with p, or, if p is nil, ended its
// goroutine. It logs last, as a log handler may be slow.
func (c consumerWorker) failed(m *Message, p any) {
	text := "the handler panicked"
	if p == nil {
		text, p = "the handler ended its goroutine", "runtime.Goexit was called"
	}
	m.setOutcome(outcomePanicked)
	c.node.stats.add(countPanics, 1)
	m.fail(&ReplyError{Code: CodePanic, Message: text})
	c.node.log.Error("handler panicked", "address", c.address, "peer", m.From(), "err", p, "stack", string(debug.Stack()))
}

// goOn goes on after a handler that ended its goroutine.
func (c consumerWorker) goOn(last *Message) {
	if c.holder.scope == nil {
		c.drain(last, -1)
		return
	}
	if c.drain(last, turnLength) {
		c.holder.scope.push(c)
	}
	c.holder.scope.work()
}
