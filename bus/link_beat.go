package bus

import (
	"fmt"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

const (
	heartbeat    = 250 * time.Millisecond // how often a link looks
	pingAfter    = time.Second            // of silence, of either side
	measureAfter = 5 * time.Second        // since the last ping, for the round trip
	deadAfter    = 4500 * time.Millisecond
	probeLimit   = time.Second
	overslept    = 4 * heartbeat
)

// beats is a link's heartbeat.
type beats struct {
	timer *time.Timer
	last  int64
}

func (b *beats) stop() { b.timer.Stop() }

// heartbeat says now and then that this node lives, and ends the link when the peer
// does not.
func (c *core) heartbeat(l *link) *beats {
	b := &beats{last: c.clock.now()}
	ready := make(chan struct{})
	b.timer = time.AfterFunc(heartbeat, func() {
		<-ready
		select {
		case <-l.down:
			return
		default:
		}
		now := c.clock.now()
		l.beat(now, now-b.last > int64(heartbeat+overslept))
		b.last = now
		b.timer.Reset(heartbeat)
	})
	close(ready)
	return b
}

// beat looks at the link (rule 19). The link pings if it has written nothing for
// pingAfter, whatever comes from the peer, which may hear of this node in no other
// way; if it has read nothing for that long; and else every measureAfter, for the round
// trip's sake. A link whose heartbeat is late, as this process was stopped, gives its
// peer another chance, and a peer is not silent while the reader is busy with frames of
// its.
func (l *link) beat(now int64, overslept bool) {
	l.announcer.overdue(now)
	l.routes.windows.tend(now)
	if !l.ear.listens.Load() {
		l.ear.lastRead.Store(now)
	}
	silent, mute := now-l.ear.lastRead.Load(), now-l.lastWrite.Load()
	switch {
	case overslept && silent > int64(pingAfter):
		l.ear.lastRead.Store(now - int64(pingAfter))
		l.ping(now)
	case silent >= int64(deadAfter):
		l.fail(fmt.Errorf("silent for %v", time.Duration(silent).Round(time.Millisecond)))
		return
	case now-l.lastPing.Load() < int64(pingAfter):
	case l.timed.Swap(false), max(silent, mute) >= int64(pingAfter), now-l.lastPing.Load() >= int64(measureAfter):
		l.ping(now)
	}
	l.trim()
}

func (l *link) ping(now int64) {
	l.lastPing.Store(now)
	l.frame(frame.Ping, &frame.Head{frame.FClock: clockOf(now)})
	l.soon()
}

// pong (rule 19) answers a ping, or several, with what the clock of one of them showed.
func (l *link) pong(clock uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ponged {
		return
	}
	h := frame.Head{frame.FHeard: clock}
	if clock != 0 {
		h[frame.FClock] = clockOf(l.clock.now())
	}
	l.frameLocked(frame.Pong, &h)
	l.ponged = true
	l.wakeLocked()
}

// trim lets an idle link keep no large buffers.
func (l *link) trim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.trimLocked() {
		l.inbounds.bounces.back = nil // all of it is written
	}
}

// probe makes a link prove itself.
func (c *core) probe(boot uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.links {
		if l.peer.Boot != boot {
			continue
		}
		now := c.clock.now()
		l.ping(now)
		time.AfterFunc(probeLimit, func() { // outlives the link by a second at most
			if l.ear.lastRead.Load() < now {
				l.fail(fmt.Errorf("gossip says that it failed, and it did not answer within %v", probeLimit))
			}
		})
	}
}
