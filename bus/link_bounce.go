package bus

import (
	"slices"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// bounces sends messages back over a link, and with them tells when the last one of a
// consumer is back.
type bounces struct {
	*inbounds
	ends *bulkEnds
	back []sentBack // messages that were appended, of which some may not be written yet; guarded by writer.mu
}

// send sends a message back over its link (rule 4): at once if the removal of its route
// has been written on the link, else the message is held until fill writes the removal.
func (bs *bounces) send(m *Message) {
	bs.mu.Lock()
	var free []*Consumer
	if in := m.inbound(); in.stage >= inRetracted || bs.err != nil {
		free = bs.sendLocked(m, nil)
	} else {
		in.hold(m)
	}
	bs.mu.Unlock()
	bs.soon()
	bs.owner.unpin(free...)
	bs.leave.recheck()
}

// sendLocked appends a message that is sent back. Once GOODBYE is written, or has come,
// it appends nothing: the message is cut off, and its sender counts it as unknown.
func (bs *bounces) sendLocked(m *Message, free []*Consumer) []*Consumer {
	in := m.inbound()
	if bs.err != nil || bs.bye {
		in.cutOff(1)
		return free
	}
	cn := in.consumer
	num := uint64(cn.num)
	credit := frame.Head{frame.FRoute: num, frame.FBytes: uint64(m.cost), frame.FMessages: 1}
	switch {
	case m.lapsed():
		cn.local.home.bookOutcome(m)
		bs.frameLocked(frame.Credit, &credit)
	case m.kind() == kindPublish:
		cn.local.home.lose(LossDropped, 1)
		bs.frameLocked(frame.Credit, &credit)
	case in.returning: // a large message is being sent back: m goes behind it, in order
		in.hold(m)
		return free
	default:
		h := frame.Head{frame.FKind: uint64(m.kind()), frame.FRoute: num, frame.FCodec: bs.codecs.onWire(m.codec()), frame.FHops: nextHop(m.hops())}
		if h[frame.FID] = m.id; m.kind() == kindSend {
			h[frame.FID], h[frame.FChoice] = 0, m.id
		}
		rest := bs.codecs.field(m.codec())
		if len(m.Body) > chunked {
			bs.sendLargeLocked(m, h, rest)
			return free // m is settled when its last chunk is written
		}
		h[frame.FTimeLeft] = bs.leftLocked(m.deadline)
		bs.buf = append(frame.Append(bs.buf, frame.Bounce, &h, m.Header(), rest, len(m.Body)), m.Body...)
		bs.returned()
		bs.noteLocked(in)
	}
	return bs.settledLocked(m, free)
}

// sentBack is a message that was appended to be sent back.
type sentBack struct {
	in *inbound
	at mark
}

// noteLocked notes a message that was appended, until it is written.
func (bs *bounces) noteLocked(in *inbound) {
	i := 0
	for bs.state != writeRunning && i < len(bs.back) && bs.written(bs.back[i].at) {
		i++
	}
	bs.back = append(slices.Delete(bs.back, 0, i), sentBack{in, mark(bs.swaps + 1)})
}

// cutOffUnwrittenLocked counts the messages to be sent back that had not been written when
// the link ended.
func (bs *bounces) cutOffUnwrittenLocked() {
	for _, b := range bs.back {
		if !bs.written(b.at) {
			b.in.cutOff(1)
		}
	}
	bs.back = nil
}

// expiredLocked settles a large message that could not be sent back in time.
func (bs *bounces) expiredLocked(m *Message) {
	cn := m.inbound().consumer
	m.expire()
	cn.local.home.bookOutcome(m)
	bs.frameLocked(frame.Credit, &frame.Head{frame.FRoute: uint64(cn.num), frame.FBytes: uint64(m.cost), frame.FMessages: 1})
	bs.freed = bs.settledLocked(m, bs.freed)
}

// byLink parts messages by the links that they came on.
func byLink(msgs []*Message) map[*inbounds][]*Message {
	by := map[*inbounds][]*Message{}
	for _, m := range msgs {
		if m.in.linked {
			ins := m.inbound().of
			by[ins] = append(by[ins], m)
		}
	}
	return by
}

// hold keeps a message until the removal of its route is written.
func (in *inbound) hold(m *Message) {
	if in.held == nil {
		in.held = new([]*Message)
	}
	*in.held = append(*in.held, m)
}

// holdLocked keeps the messages that came on the link and waited at consumers that have
// closed: ahead of messages that have come since the consumer closed and are held
// already.
func (bs *bounces) holdLocked(waited []*Message) {
	if len(waited) == 0 {
		return
	}
	since := map[*inbound]*[]*Message{}
	for _, m := range waited {
		in := m.inbound()
		if _, ok := since[in]; !ok {
			since[in], in.held = in.held, nil
		}
		in.hold(m)
	}
	for in, ms := range since {
		if ms != nil {
			*in.held = append(*in.held, *ms...)
		}
	}
}

// cutOffHeld counts the messages that were held on a link that has ended.
func (in *inbound) cutOffHeld() {
	if in.held != nil {
		in.cutOff(len(*in.held))
		in.held = nil
	}
}

// cutOff counts messages that are dropped as their link has ended.
func (in *inbound) cutOff(n int) {
	in.consumer.local.home.lose(LossCutOff, n)
}

// sendHeldLocked sends back the messages that were held, in order, up to a large one:
// those behind it are held until it is written. It appends in's consumer to
// free if that was the last that this link had to do with it.
func (bs *bounces) sendHeldLocked(in *inbound, free []*Consumer) []*Consumer {
	if in.held == nil {
		return free
	}
	held := *in.held
	in.held = nil
	for _, m := range held {
		free = bs.sendLocked(m, free)
	}
	return free
}

// bouncedLocked goes on when a large message has been sent back (rule 24): it sends back the
// messages that were held behind it, and appends ROUTES_DONE if it was the last one of its
// consumer.
func (bs *bounces) bouncedLocked(in *inbound) {
	bs.bulks.bounces--
	in.returning = false
	bs.freed = bs.sendHeldLocked(in, bs.freed)
	bs.endLocked(in)
}

// endLocked (rule 24) appends ROUTES_DONE: for a consumer for which no message comes any
// more, once its last one has been sent back; or for all consumers when this node leaves.
func (bs *bounces) endLocked(in *inbound) {
	switch {
	case bs.ours < oursLeaving && in.stage >= inGone && !in.returning:
		bs.frameLocked(frame.RoutesDone, &frame.Head{frame.FRoute: uint64(in.consumer.num)})
		bs.returned()
	case bs.ours >= oursLeft && bs.bulks.bounces == 0:
		bs.frameLocked(frame.RoutesDone, &frame.Head{})
	}
}
