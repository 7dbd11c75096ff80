package cluster

import (
	"math/rand/v2"
	"time"
)

// A backoff doubles from least to most and jitters each step by up to a fifth.
// It belongs to one goroutine.
type backoff struct{ least, most, now time.Duration }

// next returns how long to wait now.
func (b *backoff) next() time.Duration {
	b.now = min(max(2*b.now, b.least), b.most)
	return jitter(b.now, 0.2)
}

// reset starts again from the least.
func (b *backoff) reset() { b.now = 0 }

// jitter returns d, more or less by up to the given share of it.
func jitter(d time.Duration, share float64) time.Duration {
	return d + time.Duration((2*rand.Float64()-1)*share*float64(d))
}
