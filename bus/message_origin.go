package bus

import (
	"context"
	"fmt"
)

// origin is where a message came from, and the consumer that has it: all that a message
// needs of links and consumers. Messages of one consumer that came the same way have the
// same origin.
type origin struct {
	*services
	to     recipient // the consumer that has the message; nil: it is a reply
	back   wayBack
	linked bool // the message came over a link
}

// recipient is a consumer as the messages see it that it has.
type recipient interface {
	Address() string
	holds() *holder // of the turn in which it handles a message; nil: none
	gaveUp()        // the requester of a message that it has does not wait any more
	mayDefer() bool // an answer
	handles(m *Message) bool
	epoch() uint64 // of its address
	release(m *Message)
}

// wayBack is the way from a message to its sender, over a link or within the node.
type wayBack interface {
	// sender returns the name of the node that sent the message.
	sender(m *Message) string

	// intercepts reports whether replies, and questions, pass outbound interceptors.
	// intercept sends one through them; it keeps opts.
	intercepts() bool
	intercept(ctx context.Context, m *Message, verb string, body any, opts []CallOption) (answer *Message, err error)

	// reply takes a reply. over says that an error has been given in its place. The
	// reply goes by value: a pointer that goes to a method of an interface escapes, so the
	// reply would be allocated.
	reply(ctx context.Context, r reply) (over bool, err error)

	// handled settles a message that was handled, or will not be. It returns what has
	// a frame left in its buffer by that, or by the reply; nil: nothing has.
	handled(m *Message) flusher

	// answered notes that a message which asks back was answered, or cannot be.
	answered(m *Message)

	flusher
}

// flusher is a link in whose buffer a frame may be left.
type flusher interface {
	soon()  // has it written by another goroutine
	flush() // writes it, unless another goroutine is about to
}

// ownNode is the way within this node, and what its consumers have of the bus.
type ownNode struct {
	*services
	out       *outbound // nil: there are no outbound interceptors
	names     interface{ nameOf(boot uint64) string }
	consumers consumers
	idlers    idlers

	pend    pending // requests within this node
	replies origin  // of what answers them
}

// consumers is what a consumer asks of the registry of all. No lock of a consumer, ring
// or link may be held.
type consumers interface {
	closeConsumer(c *Consumer)
	awaitKnown(ctx context.Context, c *Consumer) error
	consumerOver(c *Consumer) // see Consumer.overLocked
}

func (n *ownNode) init(s *services, c *core) {
	n.services, n.names, n.consumers = s, &c.members, c
	n.replies = origin{services: s, back: n}
	n.pend.init(s, nil, &n.replies)
	s.clock.onTick(func(bool) { n.idlers.dismiss() })
}

func (n *ownNode) sender(m *Message) string {
	if m != nil && m.state()&byGossip != 0 {
		return n.names.nameOf(m.id)
	}
	return n.self.name()
}

func (*ownNode) handled(*Message) flusher { return nil }
func (*ownNode) answered(*Message)        {}
func (*ownNode) soon()                    {}
func (*ownNode) flush()                   {}

func (n *ownNode) intercepts() bool { return n.out != nil }

func (n *ownNode) intercept(ctx context.Context, m *Message, verb string, body any, opts []CallOption) (*Message, error) {
	return n.out.interceptReply(ctx, m, verb, body, opts)
}

// reply gives a reply to the requester on this node.
func (n *ownNode) reply(_ context.Context, r reply) (over bool, err error) {
	requester := n.pend.take(r.id)
	if requester == nil {
		n.stats.add(countLateReplies, 1)
	}
	if r.call != nil {
		n.ask(requester, &r)
	} else if requester != nil {
		requester.answer(answerOf(&n.replies, &r))
	}
	n.leave.recheck()
	return false, nil
}

// ask gives a question to a requester of this node, which is nil if it has given up.
// Leaving waits for the question, as for any request within this node.
func (n *ownNode) ask(requester *call, r *reply) {
	m := answerOf(&n.replies, r).m
	m.bits, m.deadline = m.bits|traits(kindRequest, 0, 0), r.call.deadline
	m.id = n.pend.add(r.call, 0, m)
	if n.leave.at(busGone) {
		n.endQuestion(r.call, m, answer{err: fmt.Errorf("%w: question to a requester of this node", ErrClosed)})
	} else if requester == nil || !requester.answer(answer{m: m}) {
		n.endQuestion(r.call, m, answer{err: errGone})
	}
}

// endQuestion ends a question within this node, unless it has ended.
func (n *ownNode) endQuestion(asker *call, m *Message, a answer) {
	if n.pend.take(m.id) != nil {
		asker.answer(a)
	}
}
