package bus

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/runrig-go/runrig/bus/internal/guard"
)

// A request whose answer is deferred is parked when its handler has returned: it stays
// among those that its consumer handles, with its share of the window, until it is
// released, as it is answered or its context ends.

// Defer leaves the answer to a request to whoever calls [Message.Reply],
// [Message.Request] or [Message.Fail] later, on any goroutine: the handler may return
// before, and its consumer goes on with the next message. Until the answer, which for a
// question is until Request returns, or until the requester gives up, the deadline comes
// or the drain time is over, the message counts in the consumer's window and as being
// handled, which closing waits for, and the handler's context lives; its turn ends as
// the handler returns. An answer that nobody has given by the deadline is counted as
// Forgotten ([Stats]).
//
// It is an error if the message is no request, or was answered, or the consumer was
// not made with [Deferring]. A handler that then returns an error, or panics, answers by
// that.
func (m *Message) Defer() error {
	switch {
	case m.in == nil || m.kind() != kindRequest || m.in.to == nil:
		return m.notRequest()
	case !m.in.to.mayDefer():
		return fmt.Errorf("bus: the consumer of %q was not made with Deferring", m.Address())
	}
	(*handlerContext)(m).Done() // whose timer releases it
	if !m.set(stateDeferred, stateAnswered|stateDone) {
		return fmt.Errorf("bus: the request to %q from %s has been answered already", m.Address(), m.From())
	}
	return nil
}

// Fail answers a request with an error, as a handler does that returns it: a
// *[ReplyError] goes as it is, another error's text with [CodeFailed]. It waits for
// nothing. It is an error if the message is no request or has been answered, or if err
// is nil, or a nil pointer, or has details that are too large or cannot be encoded: the
// request can still be answered then.
func (m *Message) Fail(err error) error {
	if m.in == nil || m.kind() != kindRequest {
		return m.notRequest()
	}
	if !m.WantsReply() {
		return fmt.Errorf("bus: the request to %q from %s has been answered already", m.Address(), m.From())
	}
	if guard.IsNil(err) {
		return fmt.Errorf("bus: Fail of the request to %q from %s has a nil error (%T); give one that says what failed, or use Reply", m.Address(), m.From(), err)
	}
	r, lost := m.refusal(err)
	if lost != nil {
		return lost
	}
	if m.in.to != nil { // else it is a question
		m.setOutcome(outcomeRefused)
	}
	m.refuse(r)
	m.in.back.soon()
	return nil
}

// final notes that the request has been answered for good. A call that asks settles it
// later.
func (m *Message) final(asks bool) {
	if m.state()&stateDeferred == 0 {
		return
	}
	atomic.OrUint32(&m.bits, stateFinal)
	if !asks {
		m.settle()
	}
}

// settle ends what is left of handling a request whose answer was deferred, now or, where
// its handler has not returned, then.
func (m *Message) settle() {
	if m.state()&stateDeferred != 0 {
		atomic.OrUint32(&m.bits, stateSettled) // before release takes Consumer.mu: see park
		m.release()
	}
}

// release ends the handling of the message if it is parked.
func (m *Message) release() {
	if m.state()&stateDeferred != 0 {
		m.in.to.release(m)
	}
}

func (c *Consumer) mayDefer() bool { return c.made&madeDeferring != 0 }

// park reports whether the message waits for its answer, though its handler has
// returned. An answer that is under way may come to nothing, and the request be answered
// again. What settles or ends the message notes it before it takes Consumer.mu in release:
// so park sees the note, or release sees the message parked.
func (c *Consumer) park(m *Message) bool {
	if m.state()&stateDeferred == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.state()&(stateSettled|stateEnded) != 0 {
		return false
	}
	atomic.OrUint32(&m.bits, stateParked)
	c.box.parked++
	c.box.keys.pass(m)
	return true
}

// release ends the handling of a message that is parked.
func (c *Consumer) release(m *Message) {
	c.mu.Lock()
	if m.state()&(stateParked|stateReleased) != stateParked {
		c.mu.Unlock()
		return
	}
	atomic.OrUint32(&m.bits, stateReleased)
	forgotten := m.state()&stateFinal == 0 && (*handlerContext)(m).Err() == context.DeadlineExceeded
	b := c.box
	b.ran(m)
	b.parked--
	grant := c.passLocked(m)
	if c.closed {
		c.closedLocked()
	}
	idle := b.workers == 0 && b.parked == 0
	if idle {
		c.restIfIdleLocked()
	}
	over := c.overLocked()
	c.mu.Unlock()
	if forgotten {
		c.node.stats.add(countForgotten, 1)
		c.local.home.book(countForgotten, 1)
	}
	if dirty := m.handled(); dirty != nil {
		dirty.soon()
	}
	if idle {
		c.node.work.active.Add(-1)
		c.node.leave.recheck()
	}
	if over {
		c.node.consumers.consumerOver(c)
	}
	if grant {
		c.local.home.grant()
	}
}
