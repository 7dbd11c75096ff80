package bus

import (
	"context"
	"sync/atomic"
)

// inbounds is what a link has of this node's consumers, as the receiving ends of its routes:
// the peer sends on each of them, and is told of each message that it is settled. Its
// fields are guarded by writer.mu, but for the atomics.
type inbounds struct {
	*services
	*writer
	owner   pins
	replies *replies

	byNumber  []*inbound   // of live consumers and tombstones
	ours      ours         // how far this node has got in telling of them
	unsettled atomic.Int64 // messages that came and are not settled
	eager     atomic.Bool  // credit is not batched: either side is leaving
	freed     []*Consumer  // closed, to be unpinned once mu is free

	dues    dues
	bounces bounces
}

// pins is what has the consumers. It is called without any lock.
type pins interface {
	unpin(cs ...*Consumer) // the link has nothing more to do with closed consumers
}

// init prepares the inbounds of a link.
func (ins *inbounds) init(l *link, owner pins) {
	ins.services, ins.writer, ins.owner, ins.replies = l.services, &l.writer, owner, &l.replies
	ins.dues.inbounds = ins
	ins.bounces.inbounds, ins.bounces.ends = ins, &l.ends
}

// inbound is the receiving end of a route: what one node sends to a consumer of
// this one.
type inbound struct {
	consumer *Consumer
	of       *inbounds
	origin   *origin // of the link's reader; nil: nothing has come

	owed     atomic.Uint64 // settled, but not yet told: messages<<owedBits | bytes
	window   atomic.Int64  // changed under writer.mu
	behind   mark          // the place in the outbox behind which its addition has to be written
	starved  atomic.Int64  // when its sender last had to wait
	growth   growth        // of the window; of the link's reader
	received int64         // messages that came; of the link's reader
	taken    int64         // bytes that came; of the link's reader
	paid     int64         // what returned was when the reader last looked; of the link's reader

	// Guarded by writer.mu.
	resized   uint32 // how often another window has been told
	stage     stage
	known     bool        // the peer has acknowledged the addition: the consumer gets copies of a publish (rule 14)
	listed    bool        // in dues.owing
	returning bool        // a large message is being sent back
	settled   int64       // messages for which credit or a bounce has been written
	returned  int64       // bytes of the messages that settled counts
	held      *[]*Message // to be sent back once the removal, or a large message before them, is written; nil: none
}

// stage is how far the life of an inbound has got, in this order: see "States" in
// PROTOCOL.md.
type stage uint8

const (
	// The consumer is registered. The peer cannot know its number.
	inNew stage = iota

	// The addition is written: messages come and wait in the mailbox.
	inAnnounced

	// The consumer is closed. What comes is kept until the removal is written (rule 4),
	// and the consumer's number pinned, as the peer knows it.
	inRemoving

	// The removal, or LEAVING, is written. What comes is sent back.
	inRetracted

	// The removal, or LEAVING, is acknowledged: nothing comes any more.
	inGone

	// All that came is settled, or the link has ended, or the peer has never heard of the
	// consumer: the link pins its number no longer (rule 3).
	inFreed
)

// goneLocked notes that no message will come for in any more: each that came has been sent
// back, waits to be, or is being handled. It appends in's consumer to free as freeLocked
// does.
func (ins *inbounds) goneLocked(in *inbound, free []*Consumer) []*Consumer {
	if in.stage >= inGone {
		return free
	}
	in.stage = inGone
	if ins.ours < oursLeaving { // else one for all
		ins.bounces.endLocked(in)
	}
	return ins.freeLocked(in, free)
}

// settledLocked notes that a frame was written which settles a message (rule 2).
func (ins *inbounds) settledLocked(m *Message, free []*Consumer) []*Consumer {
	in := m.inbound()
	in.settled++
	in.returned += int64(m.cost)
	ins.unsettled.Add(-1)
	return ins.freeLocked(in, free)
}

// freeLocked (rule 3) appends in's consumer to free if the link holds nothing of it any
// more: its removal is acknowledged and all that came is settled.
func (ins *inbounds) freeLocked(in *inbound, free []*Consumer) []*Consumer {
	if in.stage != inGone || in.received != in.settled {
		return free
	}
	in.stage = inFreed
	in.giveBack()
	if num := in.consumer.num; ins.byNumber[num] == in {
		ins.byNumber[num] = nil
		ins.byNumber = trimmed(ins.byNumber)
	}
	return append(free, in.consumer)
}

// forgetLocked forgets an inbound for which the consumer's number is not pinned.
func (ins *inbounds) forgetLocked(in *inbound) {
	in.stage = inFreed
	ins.byNumber[in.consumer.num] = nil
}

const owedBits = 40

// inbound returns the end of the route on which the message came over a link.
func (m *Message) inbound() *inbound { return m.in.back.(*inbound) }

// from returns the origin of the messages that come on the link. The link's reader calls it.
func (in *inbound) from() *origin {
	if in.origin == nil {
		in.origin = &origin{services: in.of.services, to: in.consumer, back: in, linked: true}
	}
	return in.origin
}

func (in *inbound) sender(m *Message) string { return in.of.replies.sender(m) }

// reply puts a reply on the link on which the request came, or nowhere (rule 15).
func (in *inbound) reply(ctx context.Context, r reply) (over bool, err error) {
	return in.of.replies.reply(ctx, r)
}

func (in *inbound) answered(m *Message) { in.of.replies.answered(m) }

func (in *inbound) soon() { in.of.soon() }

func (in *inbound) flush() { in.of.flush() }

func (in *inbound) intercepts() bool { return in.of.replies.intercepts() }

func (in *inbound) intercept(ctx context.Context, m *Message, verb string, body any, opts []CallOption) (*Message, error) {
	return in.of.replies.intercept(ctx, m, verb, body, opts)
}

func (in *inbound) handled(m *Message) flusher {
	if in.settle(m) || m.kind() == kindRequest {
		return in.of
	}
	return nil
}

// atLocked returns the end of a route, nil if there is none.
func (ins *inbounds) atLocked(num uint32) *inbound {
	if num == 0 || num >= uint32(len(ins.byNumber)) {
		return nil
	}
	return ins.byNumber[num]
}

// get returns the end of a route, nil if the peer cannot know such a one.
func (ins *inbounds) get(num uint64) *inbound {
	if num > maxRoutes {
		return nil
	}
	ins.mu.Lock()
	defer ins.mu.Unlock()
	in := ins.atLocked(uint32(num))
	if in == nil || in.stage == inNew || in.stage >= inGone {
		return nil
	}
	return in
}
