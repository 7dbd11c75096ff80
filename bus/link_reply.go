package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
	"github.com/runrig-go/runrig/bus/internal/recycle"
)

// keptReplies is the replies for which a link had no room: they are kept until there
// is, or their requests' deadlines are over, as no worker of a consumer is to wait for
// a peer that reads slowly. It is guarded by link.mu.
type keptReplies struct {
	small, large []*reply
	bytes        int64
	full         int64 // bytes when a reply waited for fewer in vain; 0: none did lately
	slow         bool  // a large reply was not written within patience, and some are left
	messages     bool  // the next large body is to be a message's
}

const (
	keptAlways = 1 << 20 // bytes of replies that a link may keep in any case
	keptShare  = 4       // of the bound for all links one may keep a quarter
)

// keptCost is what a reply is reckoned to take while it is kept.
func (r *reply) keptCost() int64 { return cost(len(r.body), r.header) }

// keeps reports whether the link may keep one more reply: while it keeps little, or
// no more than its share of the node's bound, which is that of its windows.
func (l *link) keeps() bool {
	return l.kept.bytes < keptAlways || l.kept.bytes < l.memory/keptShare && l.keptBytes.Load() < l.memory
}

// reply is takeReply for a message that came over the link.
func (l *link) reply(ctx context.Context, r reply) (over bool, err error) {
	err = l.takeReply(ctx, &r)
	return r.over, err
}

// takeReply takes a reply, to be written when there is room; the worker that runs the
// handler flushes it. If the link keeps too many it is answered with an error in its place.
func (l *link) takeReply(ctx context.Context, r *reply) error {
	switch large := len(r.body) > chunked; {
	case large && r.call != nil:
		return l.askLarge(ctx, r)
	case large:
		return l.replyLarge(ctx, r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := r.now || len(l.kept.small) == 0 && l.hasRoom(); !room || !l.open() {
		return l.keepLocked(ctx, r)
	}
	l.replyLocked(r)
	return nil
}

// replyLarge takes a large reply. If it can be written next it waits for patience,
// in which a fast link writes it, or the peer refuses it.
func (l *link) replyLarge(ctx context.Context, r *reply) error {
	l.mu.Lock()
	if !l.bulks.takesBulk() || l.kept.slow || len(l.kept.large) > 0 {
		l.mu.Unlock()
		r.own(l.bodies)
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.keepLocked(ctx, r)
	}
	b, err := l.replyBulkLocked(r)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case err := <-b.done:
		return err
	case <-ctx.Done():
		l.giveUp(b.done, fmt.Errorf("%w: reply to %s was under way: %w", ErrBusy, l.peer.Name, ctx.Err()))
		l.soon()
		return <-b.done
	case <-t.C:
		return l.adopt(b)
	}
}

// own gives a reply memory of its own.
func (r *reply) own(bodies *recycle.Memory) {
	if r.shared {
		r.body, r.shared = bodies.Copy(r.body), false
	}
}

// replyBulkLocked sends a large reply, whose giver waits until it ends.
func (l *link) replyBulkLocked(r *reply) (*bulkOut, error) {
	if !l.open() {
		return nil, l.replyLost()
	}
	b := &bulkOut{kind: frame.Reply, head: l.replyHeadLocked(r), header: r.header, rest: l.codecs.field(r.codec), body: r.body, owned: !r.shared, done: make(chan error, 1), owner: &largeReply{l, len(r.body)}}
	if r.call != nil {
		b.due = r.call.deadline
	}
	l.endsAt(b, r.deadline)
	l.enqueueLocked(b)
	return b, nil
}

// adopt makes a large reply the link's own, for whose end nobody waits any more.
func (l *link) adopt(b *bulkOut) error {
	l.mu.Lock()
	for b.lent {
		l.cutShort()
		back := make(chan struct{})
		b.back = back
		l.mu.Unlock()
		<-back
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	select {
	case err := <-b.done:
		return err
	default:
	}
	l.kept.slow = true
	if b.done = nil; !b.owned {
		b.body, b.owned = l.bodies.Copy(b.body), true
	}
	return nil
}

// replyLost is the error for a reply whose link has ended: the reply goes nowhere else
// (rule 15).
func (l *link) replyLost() error {
	if l.err == nil {
		return fmt.Errorf("%w: reply to %s: goodbye has been said", ErrLinkLost, l.peer.Name)
	}
	return fmt.Errorf("%w: reply to %s: %v", ErrLinkLost, l.peer.Name, l.err)
}

// replyLocked appends a small reply. A question that nobody waits for any more is
// answered in its place.
func (l *link) replyLocked(r *reply) {
	h := l.replyHeadLocked(r)
	if r.call != nil && h[frame.FAsk] == 0 {
		r = &reply{id: r.id, failed: true, code: CodeUnanswered, body: []byte("who asked back has given up")}
		h = l.replyHeadLocked(r)
	}
	l.buf = append(frame.Append(l.buf, frame.Reply, &h, r.header, l.codecs.field(r.codec), len(r.body)), r.body...)
	l.replies++
}

// replyHeadLocked returns the numbers of a reply, and notes that an answer to
// it is waited for if it asks.
func (l *link) replyHeadLocked(r *reply) frame.Head {
	h := frame.Head{frame.FID: r.id, frame.FCodec: wireCodec(r.codec)}
	if r.failed {
		h[frame.FFailed], h[frame.FCode] = 1, frame.Zigzag(r.code)
	}
	if r.call != nil {
		h[frame.FAsk] = l.pend.add(r.call, 0, nil)
		h[frame.FTimeLeft] = l.leftLocked(r.call.deadline)
	}
	return h
}

// keepLocked keeps a reply. If the link keeps too many already, the reply waits until it
// keeps fewer, for patience at most. If that was in vain, this reply is given up, and
// replies after it do not wait until half of the kept bytes are written. It lets go of
// link.mu while it waits.
func (l *link) keepLocked(ctx context.Context, r *reply) error {
	if !l.open() {
		return l.replyLost()
	}
	if l.kept.full == 0 && !l.keeps() {
		short, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := l.awaitRoomLocked(short, l.keeps); err != nil && (ctx.Err() != nil || !l.open()) {
			return err
		}
	}
	if !l.keeps() {
		l.kept.full = l.kept.bytes
		r.over = true
		l.replyLocked(&reply{id: r.id, failed: true, code: CodeBusy, body: []byte("the link has no room for the reply")})
		return fmt.Errorf("%w: link to %s keeps %d bytes of replies, for which it has no room", ErrBusy, l.peer.Name, l.kept.bytes)
	}
	k, kept := &l.kept, *r
	kept.own(l.bodies)
	k.bytes += kept.keptCost()
	l.keptBytes.Add(kept.keptCost())
	if len(kept.body) > chunked {
		k.large = append(k.large, &kept)
		l.placeLargeLocked()
	} else {
		k.small = append(k.small, &kept)
		l.placeLocked()
	}
	l.wakeLocked()
	return nil
}

// placeLocked appends the kept replies for which there is room; half of the room is
// for other frames.
func (l *link) placeLocked() {
	k := &l.kept
	for len(k.small) > 0 && l.backlog() <= l.pace.limit/2 && l.open() {
		if r := l.takeKeptLocked(&k.small); r != nil {
			l.replyLocked(r)
		}
	}
	if !k.messages {
		l.placeLargeLocked()
	}
}

// placeLargeLocked has the large kept replies written, as long as another large body may
// begin.
func (l *link) placeLargeLocked() {
	k := &l.kept
	for len(k.large) > 0 && l.bulks.takesBulk() && l.open() {
		r := l.takeKeptLocked(&k.large)
		if r == nil {
			continue
		}
		k.messages = true
		if b, err := l.replyBulkLocked(r); err == nil {
			b.done = nil
		}
	}
}

// takeKeptLocked takes out the next reply; nil if its request has ended.
func (l *link) takeKeptLocked(list *[]*reply) *reply {
	r := (*list)[0]
	(*list)[0] = nil
	if *list = (*list)[1:]; len(*list) == 0 {
		*list = nil
	}
	l.keptLessLocked(r.keptCost())
	if r.deadline <= l.clock.now() {
		l.stats.add(countLateReplies, 1)
		return nil
	}
	return r
}

func (l *link) keptLessLocked(bytes int64) {
	l.keptBytes.Add(-bytes)
	if l.kept.bytes -= bytes; l.kept.bytes <= l.kept.full/2 {
		l.kept.full = 0
	}
}

// dropKeptLocked drops all kept replies when the link has ended. It returns the calls of the
// replies that ask: these calls are in no table yet.
func (l *link) dropKeptLocked() (asking []*call) {
	for _, r := range l.kept.small {
		if r.call != nil {
			asking = append(asking, r.call)
		}
	}
	l.keptLessLocked(l.kept.bytes)
	l.kept.small, l.kept.large = nil, nil
	return asking
}

// askLarge sends a large question. The asker waits for its answer anyway, and so for
// it to be written.
func (l *link) askLarge(ctx context.Context, r *reply) error {
	l.mu.Lock()
	err := l.awaitRoomLocked(ctx, l.bulks.takesBulk)
	if err != nil {
		l.mu.Unlock()
		return err
	}
	b, err := l.replyBulkLocked(r)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case err := <-b.done:
		return err
	case <-ctx.Done():
	}
	l.giveUp(b.done, fmt.Errorf("%w: question to %s was under way: %w", ErrBusy, l.peer.Name, ctx.Err()))
	l.soon()
	return <-b.done
}

// awaitRoomLocked waits until there is room for a reply, which room tells.
func (l *link) awaitRoomLocked(ctx context.Context, room func() bool) error {
	for l.open() && !room() {
		c := make(chan struct{})
		l.room = append(l.room, c)
		l.wakeLocked()
		l.mu.Unlock()
		select {
		case <-c:
		case <-ctx.Done():
		}
		l.mu.Lock()
		if ctx.Err() != nil {
			return fmt.Errorf("%w: link to %s has no room for a reply: %w", ErrBusy, l.peer.Name, ctx.Err())
		}
	}
	if !l.open() {
		return l.replyLost()
	}
	return nil
}

// gotReply answers a request (rule 5); owned says that the body is not in the read
// buffer.
func (l *link) gotReply(f *frame.Frame, owned bool) {
	c := l.pend.take(f.ID())
	ask := f.Ask()
	if c == nil { // the request has ended
		l.stats.add(countLateReplies, 1)
		l.notAnswered(ask, errGone)
		return
	}
	r := reply{
		failed: f.Failed(), code: f.Code(), header: f.Header,
		body: f.Body, codec: l.codecs.number(f), shared: !owned,
	}
	a := answerOf(&l.replied, &r)
	switch {
	case r.codec == codecUnknown:
		codec := describeCodec(f.Codec(), f.CodecName)
		a = answer{err: fmt.Errorf("bus: the reply from %s is encoded by %s, which this node does not have (WithCodec)", l.peer.Name, codec), in: &l.replied}
		l.notAnswered(ask, l.noCodec("the question", codec))
	case ask != 0 && a.err == nil:
		l.asked(a.m, ask, l.deadline(f, l.clock.now()))
	}
	if !c.answer(a) && a.m != nil {
		a.m.fail(errGone) // nothing, unless it asks
		l.soon()
	}
	l.leave.recheck()
}

// gotLateReply ends a request whose reply was too late to be taken in.
func (l *link) gotLateReply(f *frame.Frame) {
	l.stats.add(countLateReplies, 1)
	l.notAnswered(f.Ask(), errGone)
	if c := l.pend.take(f.ID()); c != nil {
		c.answer(answer{err: fmt.Errorf("bus: no reply in time: %w", context.DeadlineExceeded)})
	}
	l.leave.recheck()
}

// gotCancel ends the context of a request's handler, or its turn in the mailbox
// (rule 5).
func (l *link) gotCancel(f *frame.Frame) {
	if f.Route() == 0 {
		l.questionOver(f.ID(), stateCanceled)
		return
	}
	l.mu.Lock()
	in := l.inLocked(uint32(min(f.Route(), maxRoutes)))
	l.mu.Unlock()
	if in == nil {
		return // handled, or sent back
	}
	c := in.consumer
	c.mu.Lock()
	m := c.box.find(in.origin, f.ID())
	c.mu.Unlock()
	if m != nil {
		m.end(stateCanceled)
		c.gaveUp()
	}
}
