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
// writer.mu.
type announcer struct {
	*inbounds
	highest uint32     // of the numbers that there were
	dirty   []*inbound // whose addition or removal is to be written
	seq     uint64     // of the last ROUTES
	unacked []routeChange
	acks    signal          // an acknowledgement has come
	down    <-chan struct{} // closed when the link has ended
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

// overdue (rule 6) ends the link if the peer owes an acknowledgement for too long.
func (a *announcer) overdue(now int64) {
	a.mu.Lock()
	overdue := len(a.unacked) > 0 && now-a.unacked[0].at >= int64(routesAckLimit)
	a.mu.Unlock()
	if overdue {
		go a.source.fail(fmt.Errorf("the peer has not acknowledged routes within %v", routesAckLimit))
	}
}

// routesFrame bounds the bytes of a ROUTES.
const routesFrame = 32 << 10

// hasRoutes reports whether a ROUTES is to be written.
func (a *announcer) hasRoutes() bool {
	return a.ours < oursLeaving && (len(a.dirty) > 0 || a.ours < oursUp)
}

// announce puts a consumer among those of which the peer is to be told. If its number may
// have been another consumer's, all frames about that consumer are written before (rule 3).
// The caller holds core.mu.
func (a *announcer) announce(c *Consumer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return
	}
	in := &inbound{consumer: c, of: a.inbounds}
	if c.num <= a.highest {
		in.behind = a.returning
	}
	a.highest = max(a.highest, c.num)
	for uint32(len(a.byNumber)) <= c.num {
		a.byNumber = append(a.byNumber, nil)
	}
	in.window.Store(c.window.first())
	a.byNumber[c.num] = in
	a.dirty = append(a.dirty, in)
}

// retract has the removal of a closed consumer written, and behind it the messages that
// came on the link and waited for the consumer (rule 4). Until the peer has acknowledged
// the removal, the consumer's number is pinned. A link that
// has failed forgets the consumer at once, as its number may be another's before the
// link is removed. The caller holds core.mu.
func (a *announcer) retract(c *Consumer, waited []*Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	in := a.atLocked(c.num)
	if in == nil || in.consumer != c {
		return
	}
	switch {
	case a.err != nil:
		a.bounces.holdLocked(waited)
		in.cutOffHeld()
		in.giveBack()
		a.forgetLocked(in)
		return
	case in.stage == inNew: // the peer need never hear of it
		a.forgetLocked(in)
		return
	}
	in.stage = inRemoving
	c.pins++
	a.bounces.holdLocked(waited)
	a.dirty = append(a.dirty, in)
	if a.state != writeRunning {
		a.fill()
	}
	a.wakeLocked()
}

// fill (rule 6) appends the changes of this node's consumers, as far as there is room for
// them, and behind the removal of a consumer the messages that wait to be sent back
// (rule 4). The caller holds writer.mu, and has made sure that no other goroutine writes.
func (a *announcer) fill() {
	for a.hasRoutes() && (len(a.first) < firstCap || len(a.dirty) == 0) && a.open() { // a ROUTES that only says that the set is whole needs no room
		a.seq++
		change := routeChange{seq: a.seq, at: a.clock.now()}
		says := a.takeDirty(&change)
		if len(a.dirty) == 0 && a.ours < oursUp {
			a.ours, says.Last = oursUp, true
		}
		if says.Empty() {
			if a.seq--; len(a.dirty) > 0 { // the frames that these changes have to come behind are not written yet
				return
			}
			continue
		}
		a.first = says.Append(a.first, a.seq)
		a.unacked = append(a.unacked, change)
		for _, in := range change.removed {
			a.bounces.sendHeldLocked(in, nil) // frees no consumer: its removal is not acknowledged yet
		}
	}
}

// takeDirty takes out of the dirty set what a ROUTES has room for. A consumer whose removal
// is among it is in stage inRetracted from here on: its messages may be sent back, behind
// that ROUTES (rule 4). The caller holds writer.mu.
func (a *announcer) takeDirty(change *routeChange) (says frame.Changes) {
	var later []*inbound
	n := 0
	for ; n < len(a.dirty) && says.Len() <= routesFrame; n++ {
		in := a.dirty[n]
		a.dirty[n] = nil
		switch c := in.consumer; {
		case in.stage == inRemoving:
			in.stage = inRetracted
			says.Remove(c.num)
			change.removed = append(change.removed, in)
		case in.stage == inFreed: // the peer need never hear of it
		case !a.written(in.behind):
			later = append(later, in)
		default:
			in.stage = inAnnounced
			says.Add(c.num, c.address, c.window.told(), c.made&madePublished != 0)
			change.added = append(change.added, in)
		}
	}
	if a.dirty = append(a.dirty[n:], later...); len(a.dirty) == 0 {
		a.dirty = nil
	}
	return says
}

// gotAck notes which consumers the peer knows from now on, and which no longer.
func (a *announcer) gotAck(seq uint64) error {
	a.mu.Lock()
	var free []*Consumer
	if len(a.unacked) == 0 || seq < a.unacked[0].seq || seq > a.seq {
		a.mu.Unlock()
		return fmt.Errorf("%w: acknowledgement of routes %d, which are not under way", frame.ErrMalformed, seq)
	}
	for len(a.unacked) > 0 && a.unacked[0].seq <= seq {
		change := a.unacked[0]
		a.unacked[0] = routeChange{}
		a.unacked = a.unacked[1:]
		for _, in := range change.added {
			in.known = true
		}
		for _, in := range change.removed {
			free = a.goneLocked(in, free)
		}
	}
	a.mu.Unlock()
	a.soon()
	a.acks.fire()
	a.owner.unpin(free...)
	a.leave.recheck()
	return nil
}

// awaitKnown waits until the peer knows a consumer, or never will.
func (a *announcer) awaitKnown(ctx context.Context, c *Consumer) error {
	for {
		changed := a.acks.wait()
		if known, err := a.knows(c); known || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-a.down:
		case <-ctx.Done():
			return fmt.Errorf("bus: %s does not know the consumer of %q yet: %w", a.peer.Name, c.address, ctx.Err())
		}
	}
}

// knows (rule 9) reports whether the peer has acknowledged the consumer, or will never
// hear of it.
func (a *announcer) knows(c *Consumer) (bool, error) {
	if c.isClosed() {
		return false, fmt.Errorf("%w: consumer of %q", ErrClosed, c.address)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.made&madeLocal != 0 || a.err != nil || a.ours >= oursLeaving {
		return true, nil
	}
	in := a.atLocked(c.num)
	return in != nil && in.consumer == c && in.known, nil
}
