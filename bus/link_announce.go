package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// announcer is what a link has told the peer of this node's consumers, and has
// yet to tell. Changes for a slow link are a set, not a queue (rule 6): an addition and
// the removal of the same consumer cancel each other out. It is guarded by
// link.mu.
type announcer struct {
	ins     []*inbound // by number: live consumers and tombstones
	highest uint32     // of the numbers that there were
	dirty   []*inbound // whose addition or removal is to be written
	seq     uint64     // of the last ROUTES
	unacked []routeChange
}

// routeChange is a ROUTES that has not been acknowledged.
type routeChange struct {
	seq            uint64
	at             int64 // when it was written
	added, removed []*inbound
}

// routesAckLimit is how long a ROUTES may go unacknowledged. It is far longer than
// what lies in front of one takes on the slowest of links: the limit is for a peer
// that lives and does not do its part, for which this node would keep each consumer
// that has closed.
const routesAckLimit = 10 * time.Minute

// overdueRoutes (rule 6) ends the link if the peer owes an acknowledgement for too long.
func (l *link) overdueRoutes(now int64) {
	l.mu.Lock()
	overdue := len(l.unacked) > 0 && now-l.unacked[0].at >= int64(routesAckLimit)
	l.mu.Unlock()
	if overdue {
		l.fail(fmt.Errorf("the peer has not acknowledged routes within %v", routesAckLimit))
	}
}

// routesFrame bounds the bytes of a ROUTES.
const routesFrame = 32 << 10

// hasRoutes reports whether a ROUTES is to be written.
func (l *link) hasRoutes() bool { return l.ours < oursLeaving && (len(l.dirty) > 0 || l.ours < oursUp) }

// announce puts a consumer among those of which the peer is to be told. If its number may
// have been another consumer's, all frames about that consumer are written before (rule 3).
// The caller holds core.mu.
func (l *link) announce(c *Consumer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	in := &inbound{consumer: c, link: l}
	if c.num <= l.highest {
		in.behind = l.returning
	}
	l.highest = max(l.highest, c.num)
	for uint32(len(l.ins)) <= c.num {
		l.ins = append(l.ins, nil)
	}
	in.window.Store(c.firstWindow())
	l.ins[c.num] = in
	l.dirty = append(l.dirty, in)
}

// retract has the removal of a closed consumer written, and behind it the messages that
// came on the link and waited for the consumer (rule 4). Until the peer has acknowledged
// the removal, the consumer's number is pinned. A link that
// has failed forgets the consumer at once, as its number may be another's before the
// link is removed. The caller holds core.mu.
func (l *link) retract(c *Consumer, waited []*Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := l.inLocked(c.num)
	if in == nil || in.consumer != c {
		return
	}
	switch {
	case l.err != nil:
		l.holdLocked(waited)
		in.cutOffHeld()
		in.giveBack()
		l.forgetInLocked(in)
		return
	case in.stage == inNew: // the peer need never hear of it
		l.forgetInLocked(in)
		return
	}
	in.stage = inRemoving
	c.pins++
	l.holdLocked(waited)
	l.dirty = append(l.dirty, in)
	if l.state != writeRunning {
		l.fill()
	}
	l.wakeLocked()
}

// fill (rule 6) appends the changes of this node's consumers, as far as there is room for
// them, and behind the removal of a consumer the messages that wait to be sent back
// (rule 4). The caller holds link.mu, and has made sure that no other goroutine writes.
func (l *link) fill() {
	for l.hasRoutes() && (len(l.first) < firstCap || len(l.dirty) == 0) && l.open() { // a ROUTES that only says that the set is whole needs no room
		l.seq++
		change := routeChange{seq: l.seq, at: l.clock.now()}
		says := l.takeDirty(&change)
		if len(l.dirty) == 0 && l.ours < oursUp {
			l.ours, says.Last = oursUp, true
		}
		if says.Empty() {
			if l.seq--; len(l.dirty) > 0 { // the frames that these changes have to come behind are not written yet
				return
			}
			continue
		}
		l.first = says.Append(l.first, l.seq)
		l.unacked = append(l.unacked, change)
		for _, in := range change.removed {
			l.bounceHeldLocked(in, nil) // frees no consumer: its removal is not acknowledged yet
		}
	}
}

// takeDirty takes out of the dirty set what a ROUTES has room for. A consumer whose removal
// is among it is in stage inRetracted from here on: its messages may be sent back, behind
// that ROUTES (rule 4). The caller holds link.mu.
func (l *link) takeDirty(change *routeChange) (says frame.Changes) {
	var later []*inbound
	n := 0
	for ; n < len(l.dirty) && says.Len() <= routesFrame; n++ {
		in := l.dirty[n]
		l.dirty[n] = nil
		switch c := in.consumer; {
		case in.stage == inRemoving:
			in.stage = inRetracted
			says.Remove(c.num)
			change.removed = append(change.removed, in)
		case in.stage == inFreed: // the peer need never hear of it
		case !l.written(in.behind):
			later = append(later, in)
		default:
			in.stage = inAnnounced
			says.Add(c.num, c.address, c.toldWindow())
			change.added = append(change.added, in)
		}
	}
	if l.dirty = append(l.dirty[n:], later...); len(l.dirty) == 0 {
		l.dirty = nil
	}
	return says
}

// gotRoutesAck notes which consumers the peer knows from now on, and which no longer.
func (l *link) gotRoutesAck(seq uint64) error {
	l.mu.Lock()
	var free []*Consumer
	if len(l.unacked) == 0 || seq < l.unacked[0].seq || seq > l.seq {
		l.mu.Unlock()
		return fmt.Errorf("%w: acknowledgement of routes %d, which are not under way", frame.ErrMalformed, seq)
	}
	for len(l.unacked) > 0 && l.unacked[0].seq <= seq {
		change := l.unacked[0]
		l.unacked[0] = routeChange{}
		l.unacked = l.unacked[1:]
		for _, in := range change.added {
			in.known = true
		}
		for _, in := range change.removed {
			free = l.goneLocked(in, free)
		}
	}
	l.mu.Unlock()
	l.soon()
	l.acks.fire()
	l.owner.unpin(free...)
	l.leave.recheck()
	return nil
}

// awaitKnown waits until the peer knows a consumer, or never will.
func (l *link) awaitKnown(ctx context.Context, c *Consumer) error {
	for {
		changed := l.acks.wait()
		if known, err := l.knows(c); known || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-l.down:
		case <-ctx.Done():
			return fmt.Errorf("bus: %s does not know the consumer of %q yet: %w", l.peer.Name, c.address, ctx.Err())
		}
	}
}

// knows (rule 9) reports whether the peer has acknowledged the consumer, or will never
// hear of it.
func (l *link) knows(c *Consumer) (bool, error) {
	if c.isClosed() {
		return false, fmt.Errorf("%w: consumer of %q", ErrClosed, c.address)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.made&madeLocal != 0 || l.err != nil || l.ours >= oursLeaving {
		return true, nil
	}
	in := l.inLocked(c.num)
	return in != nil && in.consumer == c && in.known, nil
}
