package bus

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

const (
	heartbeat    = 250 * time.Millisecond // how often a node looks at its links
	pingAfter    = time.Second            // of silence, of either side
	measureAfter = 5 * time.Second        // since the last ping, for the round trip
	deadAfter    = 4500 * time.Millisecond
	probeLimit   = time.Second
	overslept    = 4 * heartbeat
)

// pulse has the heartbeats of all links at the same moments, by one timer, and those of all
// nodes too, as far as their clocks agree. So an idle node of a large cluster, whose links
// all have something to write and to read each second, wakes for them four times a second,
// and not as often for each.
type pulse struct {
	clock *clock

	mu    sync.Mutex
	links map[*link]struct{}
	timer *time.Timer // it runs while there are links
	last  int64
}

func (p *pulse) init(c *clock) { p.clock, p.links = c, map[*link]struct{}{} }

// add begins a link's heartbeat, and returns what ends it.
func (p *pulse) add(l *link) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[l] = struct{}{}
	if len(p.links) == 1 {
		p.last = p.clock.now()
		p.timer = time.AfterFunc(untilBeat(time.Now()), p.beat)
	}
	return func() { p.remove(l) }
}

func (p *pulse) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
	if len(p.links) == 0 {
		p.timer.Stop()
	}
}

// beat says now and then, on each link, that this node lives, and ends the links whose
// peer does not.
func (p *pulse) beat() {
	p.mu.Lock()
	now := p.clock.now()
	late := now-p.last > int64(heartbeat+overslept)
	p.last = now
	links := slices.Collect(maps.Keys(p.links))
	if len(links) > 0 {
		p.timer.Reset(untilBeat(time.Now()))
	}
	p.mu.Unlock()
	for _, l := range links {
		l.beat(now, late)
	}
}

// untilBeat returns the time until the next heartbeat, which is when the clock shows a whole
// quarter of a second.
func untilBeat(now time.Time) time.Duration {
	left := heartbeat - time.Duration(now.Nanosecond())%heartbeat
	if left < heartbeat/2 { // a timer may fire a little early by that clock
		left += heartbeat
	}
	return left
}

// patience is how long a link is silent before this node pings. Of two nodes whose
// heartbeats are at the same moment that with the larger boot id leaves it to the other, once
// the answer to a ping of its own has shown how far the clocks are apart (rule 20).
func (l *link) patience() int64 {
	if l.self.boot.Load() > l.peer.Boot && l.roundTrip.Load() != 0 {
		return int64(pingAfter + heartbeat)
	}
	return int64(pingAfter)
}

// beat looks at the link (rule 19). The link pings if it has written nothing for
// pingAfter, whatever comes from the peer, which may hear of this node in no other
// way; if it has read nothing for that long; and else every measureAfter, for the round
// trip's sake. A link whose heartbeat is late, as this process was stopped, gives its
// peer another chance, and a peer is not silent while the reader is busy with frames of
// its. A link that ends does so by a goroutine of its own, as closing TLS may take its time,
// and the other links' heartbeats go on.
func (l *link) beat(now int64, overslept bool) {
	select {
	case <-l.down:
		return
	default:
	}
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
		go l.fail(fmt.Errorf("silent for %v", time.Duration(silent).Round(time.Millisecond)))
		return
	case now-l.lastPing.Load() < int64(pingAfter):
	case l.timed.Swap(false), max(silent, mute) >= l.patience(), now-l.lastPing.Load() >= int64(measureAfter):
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
	for l := range c.members.links {
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
