package bus

import (
	"sync/atomic"
	"time"
)

const (
	windowFloor   = 16 << 10         // of a route at first; both sides know it
	defaultWindow = 1<<20 + 64<<10   // what it may grow to: behind a body of 1 MiB another may start
	maxWindow     = 64 << 20         // that a peer may announce
	windowKept    = 10 * time.Second // after its sender last had to wait
	windowPressed = time.Second      // the same, when the pool is empty
)

// windowLimit is how far the windows of the routes to a consumer may grow.
type windowLimit int32

// first returns the window that a route begins with.
func (w windowLimit) first() int64 { return min(windowFloor, int64(w)) }

// told returns the first window as a ROUTES says it; 0 stands for windowFloor.
func (w windowLimit) told() uint64 {
	if w.first() != windowFloor {
		return uint64(w.first())
	}
	return 0
}

// pool is what windows grow from.
type pool struct {
	free   atomic.Int64
	missed atomic.Int64 // when the pool last had too little for a window to grow
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

// growth is when a window last grew. A window grows only while its consumer keeps up: a
// slow consumer would only have more messages waiting, which other consumers might handle
// sooner, and which it might not handle before their deadline.
type growth struct {
	at, settled int64 // when the window last grew, and what was settled then
}

// may reports whether a window may grow for a message that has left nanoseconds until its
// deadline: whether the consumer, at the pace at which it has settled since the window last
// grew, would settle all that is queued in half of that time. settled is what the consumer
// has settled in all. If it has settled less than half a window since, its pace is not known
// and the window does not grow. settled, queued and window are in the same unit: bytes for
// what comes over a link, messages for what this node sends itself.
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
