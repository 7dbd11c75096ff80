package bus

import (
	"sync/atomic"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

const (
	windowFloor   = 16 << 10         // of a route at first; both sides know it
	defaultWindow = 1<<20 + 64<<10   // what it may grow to: behind a body of 1 MiB another may start
	maxWindow     = 64 << 20         // that a peer may announce
	windowKept    = 10 * time.Second // after its sender last had to wait
	windowPressed = time.Second      // the same, when the pool is empty
)

// pool is what windows grow from.
type pool struct {
	free   atomic.Int64
	missed atomic.Int64 // when a window could last not grow
}

// take takes n bytes out of the pool.
func (p *pool) take(n, now int64) bool {
	for {
		free := p.free.Load()
		if free < n {
			p.missed.Store(now)
			return false
		}
		if p.free.CompareAndSwap(free, free-n) {
			return true
		}
	}
}

func (p *pool) give(n int64) { p.free.Add(n) }

// growth is when a window last grew. It grows only while its consumer keeps up: what
// a slow one has not handled yet is no reason to let it have more, which others
// might handle sooner, and it perhaps not before the deadline.
type growth struct {
	at, settled int64 // when, and what was settled then
}

// may reports whether a window may grow for a message that has so much time left:
// whether its consumer, as it has settled so much in all, would handle what is queued
// there in half of that. Less than half a window since it last grew is not enough to
// tell. Amounts are bytes, or messages.
func (g *growth) may(settled, queued, window, now, left int64) bool {
	since, took := settled-g.settled, now-g.at
	if g.at == 0 { // the first time
		took = 0
	}
	grows := 2*since >= window && float64(queued)*float64(took) <= float64(since)*float64(left/2)
	if grows || took > int64(time.Second) {
		g.at, g.settled = now, settled
	}
	return grows
}

// firstWindow is the window that a route to the consumer begins with.
func (c *Consumer) firstWindow() int64 { return min(windowFloor, int64(c.window)) }

// grow (rule 13) doubles the window of a route whose sender had to wait with a message that
// has so much time left, and tells it. The link's reader calls it.
func (in *inbound) grow(left int64) {
	l, now := in.link, in.link.clock.now()
	in.starved.Store(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	w := in.window.Load()
	more := min(w, int64(in.consumer.window)-w)
	settled := in.returned + int64(in.owed.Load()&(1<<owedBits-1))
	if more <= 0 || !in.growth.may(settled, in.taken-settled, w, now, left) || in.consumer.paused.Load() || l.ours >= oursLeaving || in.stage >= inRemoving || !l.pool.take(more, now) {
		return
	}
	in.window.Store(w + more)
	in.resized++
	l.frameLocked(frame.Credit, &frame.Head{frame.FRoute: uint64(in.consumer.num), frame.FWindow: uint64(w + more)})
	l.wakeLocked()
}

// shrinkLocked (rule 11) takes some of the window back from a route whose sender did not
// have to wait lately: never more than is given back at the same time, so that
// no credit is revoked. It reports whether the window has changed.
func (in *inbound) shrinkLocked(given int64) bool {
	w := in.window.Load()
	grown := w - in.consumer.firstWindow()
	if grown <= 0 {
		return false
	}
	l := in.link
	now, kept := l.clock.now(), int64(windowKept)
	if missed := l.pool.missed.Load(); missed > 0 && now-missed < kept {
		kept = int64(windowPressed)
	}
	if now-in.starved.Load() < kept {
		return false
	}
	less := min(given, grown, max(w/2, windowFloor))
	in.window.Store(w - less)
	l.pool.give(less)
	return true
}

// giveBack returns to the pool what the window has grown by.
func (in *inbound) giveBack() {
	if grown := in.window.Load() - in.consumer.firstWindow(); grown > 0 {
		in.window.Add(-grown)
		in.link.pool.give(grown)
	}
}

// growLocked doubles the window for messages of this node's, one of which had to
// wait. It reports whether there is credit then. The caller holds c.mu.
func (c *Consumer) growLocked(o *outgoing) bool {
	if c.box == nil || c.paused.Load() {
		return false
	}
	rt, now := &c.local, c.node.clock.now()
	more := min(rt.window, int64(c.window)-rt.window)
	keepsUp := c.box.growth.may(rt.settled, rt.unsettled, rt.unsettled, now, o.due(c.node.services)-now)
	if more <= 0 || !keepsUp || !c.node.pool.take(more, now) {
		return false
	}
	rt.window += more
	return rt.credit() > 0
}
