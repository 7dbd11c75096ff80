package bus

import (
	"context"
	"errors"
	"slices"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// bulkOwner is what a large frame stands for: a message, a reply, a message that is
// sent back or one that is handed over. Its methods are called with writer.mu held. A
// frame ends by exactly one of written, takenBack and cutOff.
type bulkOwner interface {
	written()                  // the last chunk is written
	takenBack(why error) error // the frame is taken back before its last chunk; the error is for the goroutine that waits for its end
	cutOff()                   // the link has ended before the last chunk; only for owners that are not taken back when a link ends
	overdue() error            // the reason for which the frame is taken back at its deadline
}

// errAgain is the reason for which a large message is taken back that is to be routed
// elsewhere, and the error that its sender gets: the receiver has thrown away what had come
// of the body.
var errAgain = errors.New("route it again")

// largeMessage is a message to one consumer, or to several, whose body goes in chunks.
type largeMessage struct {
	link   *link
	o      outgoing
	routes []*route // on which the message was charged; all are of one ring
}

// postBulkLocked takes a large message for rts, which have been charged.
func (l *link) postBulkLocked(o *outgoing, rts []*route, rest []byte) {
	m := &largeMessage{l, *o, rts}
	b := &bulkOut{kind: frame.Msg, head: o.head, header: o.header, rest: rest, body: o.body, owned: o.owned, done: o.done, due: o.due(l.services), owner: m}
	for _, rt := range rts {
		rt.bulks++
	}
	l.replies.messages = false
	if b.done == nil && o.call == nil { // else its sender ends it at the deadline, or the table of requests does
		l.ends.at(b, b.due)
	}
	l.enqueueLocked(b)
}

func (m *largeMessage) home() *home { return m.routes[0].home }

// asks reports whether it is the request with this id.
func (m *largeMessage) asks(id uint64) bool { return m.o.call != nil && m.o.head.ID() == id }

func (m *largeMessage) publishes() bool { return m.o.head.Kind() == kindPublish }

func (m *largeMessage) written() {
	for _, rt := range m.routes {
		rt.bulks--
		m.link.entrance.wait(rt.home) // messages of this ring wait behind the large one
	}
}

// takenBack makes the message one that has never been posted.
func (m *largeMessage) takenBack(why error) error {
	l := m.link
	for _, rt := range m.routes {
		rt.unsend(&m.o)
		rt.bulks--
		l.routes.outside--
		l.routes.sent--
		l.entrance.wait(rt.home)
	}
	ended := m.o.call != nil && l.pend.take(m.o.head.ID()) == nil
	switch {
	case m.publishes():
		m.home().lose(LossSkipped, len(m.routes))
		return nil
	case ended: // the call may be another request's by now
		if why == errAgain {
			return nil // the sender of the message gets the answer
		}
	case m.o.done == nil:
		l.ends.againLocked(m.home().address, &m.o, why)
	}
	return why
}

func (m *largeMessage) cutOff() {}

func (m *largeMessage) overdue() error {
	if m.o.done == nil {
		return m.home().late(&m.o)
	}
	return m.link.underWay(messageTo(m.home().address), len(m.o.body), context.DeadlineExceeded)
}

// largeMessage returns the message that the frame is, nil if it is none.
func (b *bulkOut) largeMessage() *largeMessage {
	m, _ := b.owner.(*largeMessage)
	return m
}

// less takes off what was charged on a route for a large message that is still being
// sent.
func (b *bulks) less(rt *route, messages, bytes int64) (int64, int64) {
	for _, o := range b.out {
		if m := o.largeMessage(); m != nil && !o.whole() && slices.Contains(m.routes, rt) {
			messages, bytes = messages-1, bytes-m.o.cost
		}
	}
	return messages, bytes
}

// largeReply is a reply whose body goes in chunks.
type largeReply struct {
	replies *replies
	size    int
}

func (r *largeReply) written() { r.over() }

func (r *largeReply) takenBack(why error) error {
	r.over()
	return why
}

// over forgets that a large reply was slow, unless others are kept behind it.
func (r *largeReply) over() {
	if len(r.replies.large) == 0 {
		r.replies.slow = false
	}
}

func (r *largeReply) cutOff() {}
func (r *largeReply) overdue() error {
	return r.replies.underWay("reply", r.size, context.DeadlineExceeded)
}

// largeBounce is a message that is sent back, whose body goes in chunks.
type largeBounce struct {
	bounces *bounces
	m       *Message
}

// sendLargeLocked sends a large message back. It is settled when it is written.
func (bs *bounces) sendLargeLocked(m *Message, h frame.Head, rest []byte) {
	m.inbound().returning = true
	bs.bulks.bounces++
	b := &bulkOut{kind: frame.Bounce, head: h, header: m.Header(), rest: rest, body: m.Body, owned: true, due: m.deadline, owner: &largeBounce{bs, m}}
	bs.ends.at(b, m.deadline)
	bs.enqueueLocked(b)
}

func (x *largeBounce) written() {
	ins := x.bounces.inbounds
	ins.freed = ins.settledLocked(x.m, ins.freed)
	x.bounces.bouncedLocked(x.m.inbound())
}

// takenBack settles the message as expired.
func (x *largeBounce) takenBack(why error) error {
	x.bounces.expiredLocked(x.m)
	x.bounces.bouncedLocked(x.m.inbound())
	return why
}

func (x *largeBounce) cutOff() { x.m.inbound().cutOff(1) }
func (x *largeBounce) overdue() error {
	return x.bounces.underWay(messageTo(x.m.Address()), len(x.m.Body), context.DeadlineExceeded)
}

// largeHandover is a message that is handed over to a peer that stays, whose body goes
// in chunks.
type largeHandover struct {
	link *link
	ring *ring
	o    outgoing
}

// handOverLargeLocked hands a large message over.
func (l *link) handOverLargeLocked(r *ring, o *outgoing, h frame.Head, rest []byte) {
	b := &bulkOut{kind: frame.Handover, head: h, header: o.header, rest: rest, body: o.body, due: o.deadline, owner: &largeHandover{l, r, *o}}
	l.ends.at(b, o.deadline)
	l.enqueueLocked(b)
}

func (h *largeHandover) written() {
	h.link.given = append(h.link.given, handed{h.ring.address, h.o})
}

func (h *largeHandover) takenBack(why error) error {
	h.link.ends.againLocked(h.ring.address, &h.o, why)
	return why
}

func (h *largeHandover) cutOff()        {}
func (h *largeHandover) overdue() error { return h.ring.late(&h.o) }
