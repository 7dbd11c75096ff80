package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
	"github.com/runrig-go/runrig/bus/internal/recycle"
)

// replies takes the replies, and the questions, that go over a link: it is the way back of
// what came over it. A reply is appended if there is room. Else it is kept until there is,
// or its request's deadline is over, as no worker of a consumer is to wait for a peer that
// reads slowly. A large reply is waited for a little, and then kept as well. Its fields are
// guarded by writer.mu.
type replies struct {
	*services
	*writer
	ends      *bulkEnds
	requests  *pending   // which the replies that ask become part of
	questions *questions // which replies answer
	out       *outbound  // nil: there are no outbound interceptors
	origin    origin     // of replies that come over the link

	small, large []*reply        // that are kept
	kept         int64           // bytes of them
	full         int64           // what kept was when a reply waited for less in vain; 0: none did lately
	slow         bool            // a large reply was not written within patience, and some are left
	messages     bool            // the next large body is to be a message's
	room         []chan struct{} // each closed when there is room again: of replies and questions that wait for it
}

const (
	keptAlways = 1 << 20 // bytes of replies that a link may keep in any case
	keptShare  = 4       // of the bound for all links one may keep a quarter
)

// keptCost is what a reply is reckoned to take while it is kept.
func (r *reply) keptCost() int64 { return cost(len(r.body)+len(r.details), r.header) }

// init prepares the replies of a link.
func (rs *replies) init(l *link, out *outbound) {
	rs.services, rs.writer, rs.ends, rs.requests, rs.questions, rs.out = l.services, &l.writer, &l.ends, &l.pend, &l.questions, out
	rs.origin = origin{services: l.services, back: rs, linked: true}
}

// keeps reports whether the link may keep one more reply: while it keeps little, or
// no more than its share of the node's bound, which is that of its windows.
func (rs *replies) keeps() bool {
	return rs.kept < keptAlways || rs.kept < rs.memory/keptShare && rs.keptBytes.Load() < rs.memory
}

func (rs *replies) sender(*Message) string { return rs.peer.Name }

func (rs *replies) handled(*Message) flusher { return nil }

func (rs *replies) intercepts() bool { return rs.out != nil }

func (rs *replies) intercept(ctx context.Context, m *Message, verb string, body any, opts []CallOption) (*Message, error) {
	return rs.out.interceptReply(ctx, m, verb, body, opts)
}

// answered forgets a question that was answered, or cannot be.
func (rs *replies) answered(m *Message) {
	if m.isQuestion() {
		rs.questions.take(m.id)
		rs.leave.recheck()
	}
}

// reply is take for a message that came over the link.
func (rs *replies) reply(ctx context.Context, r reply) (over bool, err error) {
	err = rs.take(ctx, &r)
	return r.over, err
}

// take takes a reply, to be written when there is room; the worker that runs the
// handler flushes it. If the link keeps too many it is answered with an error in its place.
func (rs *replies) take(ctx context.Context, r *reply) error {
	switch large := len(r.body) > chunked; {
	case large && r.call != nil:
		return rs.askLarge(ctx, r)
	case large:
		return rs.takeLarge(ctx, r)
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if room := r.now || len(rs.small) == 0 && rs.hasRoom(); !room || !rs.open() {
		return rs.keepLocked(ctx, r)
	}
	rs.appendLocked(r)
	return nil
}

// takeLarge takes a large reply. If it can be written next it waits for patience,
// in which a fast link writes it, or the peer refuses it.
func (rs *replies) takeLarge(ctx context.Context, r *reply) error {
	rs.mu.Lock()
	if !rs.bulks.takesBulk() || rs.slow || len(rs.large) > 0 {
		rs.mu.Unlock()
		r.own(rs.bodies)
		rs.mu.Lock()
		defer rs.mu.Unlock()
		return rs.keepLocked(ctx, r)
	}
	b, err := rs.sendLargeLocked(r)
	rs.mu.Unlock()
	if err != nil {
		return err
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case err := <-b.done:
		return err
	case <-ctx.Done():
		rs.giveUp(b.done, rs.underWay("reply", len(r.body), ctx.Err()))
		rs.soon()
		return <-b.done
	case <-t.C:
		return rs.adopt(b)
	}
}

// own gives a reply memory of its own.
func (r *reply) own(bodies *recycle.Memory) {
	if r.shared {
		r.body, r.shared = bodies.Copy(r.body), false
	}
}

// sendLargeLocked sends a large reply, whose giver waits until it ends.
func (rs *replies) sendLargeLocked(r *reply) (*bulkOut, error) {
	if !rs.open() {
		return nil, rs.lost()
	}
	b := &bulkOut{kind: frame.Reply, head: rs.headLocked(r), header: r.header, rest: rs.codecs.field(r.codec), body: r.body, owned: !r.shared, done: make(chan error, 1), owner: &largeReply{rs, len(r.body)}}
	if r.call != nil {
		b.due = r.call.deadline
	}
	rs.ends.at(b, r.deadline)
	rs.enqueueLocked(b)
	return b, nil
}

// adopt makes a large reply the link's own, for whose end nobody waits any more.
func (rs *replies) adopt(b *bulkOut) error {
	rs.mu.Lock()
	for b.lent {
		rs.cutShort()
		back := make(chan struct{})
		b.back = back
		rs.mu.Unlock()
		<-back
		rs.mu.Lock()
	}
	defer rs.mu.Unlock()
	select {
	case err := <-b.done:
		return err
	default:
	}
	rs.slow = true
	if b.done = nil; !b.owned {
		b.body, b.owned = rs.bodies.Copy(b.body), true
	}
	return nil
}

// lost is the error for a reply whose link has ended: the reply goes nowhere else
// (rule 15).
func (rs *replies) lost() error {
	if rs.err == nil {
		return fmt.Errorf("%w: reply to %s: goodbye has been said", ErrLinkLost, rs.peer.Name)
	}
	return fmt.Errorf("%w: reply to %s: %v", ErrLinkLost, rs.peer.Name, rs.err)
}

// appendLocked appends a small reply. A question that nobody waits for any more is
// answered in its place.
func (rs *replies) appendLocked(r *reply) {
	h := rs.headLocked(r)
	if r.call != nil && h[frame.FAsk] == 0 {
		r = &reply{id: r.id, failed: true, code: CodeUnanswered, body: []byte("who asked back has given up")}
		h = rs.headLocked(r)
	}
	rs.buf = append(frame.Append(rs.buf, frame.Reply, &h, r.header, r.fields(&rs.codecs), len(r.body)), r.body...)
	rs.appended++
}

// headLocked returns the numbers of a reply, and notes that an answer to
// it is waited for if it asks.
func (rs *replies) headLocked(r *reply) frame.Head {
	h := frame.Head{frame.FID: r.id, frame.FCodec: rs.codecs.onWire(r.codec)}
	if r.failed {
		h[frame.FFailed], h[frame.FCode] = 1, frame.Zigzag(r.code)
	}
	if r.call != nil {
		h[frame.FAsk] = rs.requests.add(r.call, 0, nil)
		h[frame.FTimeLeft] = rs.leftLocked(r.call.deadline)
	}
	return h
}

// keepLocked keeps a reply. If the link keeps too many already, the reply waits until it
// keeps fewer, for patience at most. If that was in vain, this reply is given up, and
// replies after it do not wait until half of the kept bytes are written. It lets go of
// writer.mu while it waits.
func (rs *replies) keepLocked(ctx context.Context, r *reply) error {
	if !rs.open() {
		return rs.lost()
	}
	if rs.full == 0 && !rs.keeps() {
		short, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := rs.awaitRoomLocked(short, rs.keeps); err != nil && (ctx.Err() != nil || !rs.open()) {
			return err
		}
	}
	if !rs.keeps() {
		rs.full = rs.kept
		r.over = true
		rs.appendLocked(&reply{id: r.id, failed: true, code: CodeBusy, body: []byte("the link has no room for the reply")})
		return fmt.Errorf("%w: link to %s keeps %d bytes of replies, for which it has no room", ErrBusy, rs.peer.Name, rs.kept)
	}
	kept := *r
	kept.own(rs.bodies)
	rs.kept += kept.keptCost()
	rs.keptBytes.Add(kept.keptCost())
	if len(kept.body) > chunked {
		rs.large = append(rs.large, &kept)
		rs.placeLargeLocked()
	} else {
		rs.small = append(rs.small, &kept)
		rs.placeLocked()
	}
	rs.wakeLocked()
	return nil
}

// placeLocked appends the kept replies for which there is room; half of the room is
// for other frames.
func (rs *replies) placeLocked() {
	for len(rs.small) > 0 && rs.backlog() <= rs.pace.limit/2 && rs.open() {
		if r := rs.takeKeptLocked(&rs.small); r != nil {
			rs.appendLocked(r)
		}
	}
	if !rs.messages {
		rs.placeLargeLocked()
	}
}

// placeLargeLocked has the large kept replies written, as long as another large body may
// begin.
func (rs *replies) placeLargeLocked() {
	for len(rs.large) > 0 && rs.bulks.takesBulk() && rs.open() {
		r := rs.takeKeptLocked(&rs.large)
		if r == nil {
			continue
		}
		rs.messages = true
		if b, err := rs.sendLargeLocked(r); err == nil {
			b.done = nil
		}
	}
}

// takeKeptLocked takes out the next reply; nil if its request has ended.
func (rs *replies) takeKeptLocked(list *[]*reply) *reply {
	r := (*list)[0]
	(*list)[0] = nil
	if *list = (*list)[1:]; len(*list) == 0 {
		*list = nil
	}
	rs.keptLessLocked(r.keptCost())
	if r.deadline <= rs.clock.now() {
		rs.stats.add(countLateReplies, 1)
		return nil
	}
	return r
}

func (rs *replies) keptLessLocked(bytes int64) {
	rs.keptBytes.Add(-bytes)
	if rs.kept -= bytes; rs.kept <= rs.full/2 {
		rs.full = 0
	}
}

// dropLocked drops all kept replies when the link has ended. It returns the calls of the
// replies that ask: these calls are in no table yet.
func (rs *replies) dropLocked() (asking []*call) {
	for _, r := range rs.small {
		if r.call != nil {
			asking = append(asking, r.call)
		}
	}
	rs.keptLessLocked(rs.kept)
	rs.small, rs.large = nil, nil
	return asking
}

// askLarge sends a large question. The asker waits for its answer anyway, and so for
// it to be written.
func (rs *replies) askLarge(ctx context.Context, r *reply) error {
	rs.mu.Lock()
	err := rs.awaitRoomLocked(ctx, rs.bulks.takesBulk)
	if err != nil {
		rs.mu.Unlock()
		return err
	}
	b, err := rs.sendLargeLocked(r)
	rs.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case err := <-b.done:
		return err
	case <-ctx.Done():
	}
	rs.giveUp(b.done, rs.underWay("question", len(r.body), ctx.Err()))
	rs.soon()
	return <-b.done
}

// awaitRoomLocked waits until there is room for a reply, which room tells.
func (rs *replies) awaitRoomLocked(ctx context.Context, room func() bool) error {
	for rs.open() && !room() {
		c := make(chan struct{})
		rs.room = append(rs.room, c)
		rs.wakeLocked()
		rs.mu.Unlock()
		select {
		case <-c:
		case <-ctx.Done():
		}
		rs.mu.Lock()
		if ctx.Err() != nil {
			return fmt.Errorf("%w: link to %s has no room for a reply: %w", ErrBusy, rs.peer.Name, ctx.Err())
		}
	}
	if !rs.open() {
		return rs.lost()
	}
	return nil
}

// wakeAllLocked wakes the replies and questions that wait for room.
func (rs *replies) wakeAllLocked() {
	for _, c := range rs.room {
		close(c)
	}
	rs.room = nil
}

// notAnswered (rule 16) tells the peer, at once, that nobody answers its question; id is
// 0 if there is none.
func (rs *replies) notAnswered(id uint64, e *ReplyError) {
	if id == 0 {
		return
	}
	_ = rs.take(context.Background(), &reply{id: id, failed: true, now: true, code: e.Code, body: []byte(e.Message)})
	rs.soon()
}
