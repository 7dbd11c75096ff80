package bus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// bulkEnds ends the large frames of a link that are not wholly written: at their deadlines,
// when their callers give up, when the peer refuses them, and with the link. What is taken
// back and nobody waits for it is routed elsewhere.
type bulkEnds struct {
	*services
	*writer
	rings   *rings
	replies *replies

	routing sync.Mutex // held while the messages of again are routed; taken before all other locks
	again   []unplaced // large messages that were taken back, to be routed again once mu is free; guarded by writer.mu
}

// at has a large frame taken back at its deadline if it is not all written.
func (e *bulkEnds) at(b *bulkOut, deadline int64) {
	b.timer = time.AfterFunc(time.Duration(deadline-e.clock.now()), func() { e.expire(b) })
}

// expire takes back a large frame whose deadline is over.
func (e *bulkEnds) expire(b *bulkOut) {
	e.mu.Lock()
	if slices.Contains(e.bulks.out, b) && !b.whole() {
		e.resetLocked(b, b.owner.overdue())
	}
	e.mu.Unlock()
	e.routeAgain()
	e.leave.recheck()
}

// lateEnd returns how a request ends whose deadline comes while it is on the link:
// as a dead letter if it was sent back here, and no consumer has had all of it.
func (e *bulkEnds) lateEnd(id uint64) error {
	e.mu.Lock()
	i := slices.IndexFunc(e.bulks.out, func(b *bulkOut) bool {
		m := b.largeMessage()
		return m != nil && m.asks(id) && b.done == nil && !b.whole()
	})
	if i < 0 {
		e.mu.Unlock()
		return &unanswered{atSent, context.DeadlineExceeded}
	}
	b := e.bulks.out[i]
	m := b.largeMessage()
	reason := m.home().late(&m.o)
	e.resetLocked(b, reason)
	e.mu.Unlock()
	o := m.o
	o.call = nil // which the caller of lateEnd answers
	e.rings.dead(m.home().address, &o, reason)
	return reason
}

// cancel tells the consumer of a request that its caller has given up; what is
// not wholly written is taken back.
func (e *bulkEnds) cancel(num uint32, id uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range e.bulks.out {
		if m := b.largeMessage(); m != nil && m.asks(id) && !b.whole() {
			e.resetLocked(b, context.Canceled)
			return
		}
	}
	e.frameLocked(frame.Cancel, &frame.Head{frame.FRoute: uint64(num), frame.FID: id})
	e.wakeLocked()
}

// allLocked ends all when the link has ended. What is wholly written may
// have come; a reply that is not has not.
func (e *bulkEnds) allLocked() {
	e.resetAllLocked(func(*bulkOut) bool { return true })
	for _, b := range e.bulks.out {
		if b.whole() {
			b.end(nil)
			continue
		}
		b.owner.cutOff()
		b.end(fmt.Errorf("%w to %s", ErrLinkLost, e.peer.Name))
	}
	e.bulks.out = nil
}

// await waits until a large body is written, to errAgain, or until ctx or
// the deadline ends: then it is reset.
func (e *bulkEnds) await(ctx context.Context, o *outgoing, what string) error {
	t := time.NewTimer(time.Duration(o.due(e.services) - e.clock.now()))
	defer t.Stop()
	why := context.DeadlineExceeded
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		why = ctx.Err()
	case <-t.C:
	}
	if e.giveUp(o.done, e.underWay(what, len(o.body), why)) {
		e.soon()
		e.leave.recheck()
	}
	return <-o.done
}

// gotRefused ends a frame whose body is too large for the peer, or has not
// come there in time.
func (e *bulkEnds) gotRefused(f *frame.Frame) {
	e.mu.Lock()
	switch b := e.bulkLocked(f.Bulk()); {
	case b == nil || b.whole(): // it is over
	case f.Refused() == frame.RefusedLate:
		e.resetLocked(b, b.owner.overdue())
	default:
		b.state = bulkQueued // the peer has nothing of it
		err := fmt.Errorf("%w: body of %d bytes for %s, whose limit is %d (WithBodyLimit)", ErrTooLarge, len(b.body), e.peer.Name, f.Size())
		e.resetLocked(b, err)
		if b.kind == frame.Reply && b.done == nil && !e.bye { // its giver has gone on
			e.replies.appendLocked(&reply{id: b.head.ID(), failed: true, code: CodeFailed, body: []byte(err.Error())})
		}
	}
	e.mu.Unlock()
	e.routeAgain()
	e.leave.recheck()
}

// unplaced is a message that was taken back and that nobody waits for.
type unplaced struct {
	address string
	o       outgoing
	why     error // errAgain, or why it is not to be routed elsewhere
}

// againLocked has a message routed elsewhere, or ended, once the lock is free.
func (e *bulkEnds) againLocked(address string, o *outgoing, why error) {
	e.work.placing.Add(1)
	e.again = append(e.again, unplaced{address, *o, why})
}

// routeAgain routes elsewhere the messages that were taken back and that nobody waits
// for. When it returns all of them are in line, though another goroutine may have
// placed them.
func (e *bulkEnds) routeAgain() {
	e.routing.Lock()
	defer e.routing.Unlock()
	e.mu.Lock()
	again := e.again
	e.again = nil
	e.mu.Unlock()
	for i := range again {
		u := &again[i]
		if u.why == errAgain {
			e.rings.reroute(u.address, &u.o, true)
		} else {
			e.rings.dead(u.address, &u.o, u.why)
		}
		e.work.placing.Add(-1)
	}
	if len(again) > 0 {
		e.leave.recheck()
	}
}
