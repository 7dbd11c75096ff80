package cluster

import (
	"cmp"
	"math/rand/v2"
	"sync"
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

// logEvery is how often a line that strangers can provoke is logged at most.
const logEvery = 10 * time.Second

// sometimes lets one call in an interval pass and counts the others. Its zero
// value uses logEvery.
type sometimes struct {
	every time.Duration

	mu   sync.Mutex
	next time.Time
	held int
}

// pass reports whether the caller may act now, and how many calls since the last
// that might were held back.
func (s *sometimes) pass() (held int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Before(s.next) {
		s.held++
		return 0, false
	}
	held, s.held = s.held, 0
	s.next = now.Add(cmp.Or(s.every, logEvery))
	return held, true
}

// bucket is a budget of bytes per second that saves up to a burst.
type bucket struct {
	rate, burst float64

	mu   sync.Mutex
	have float64
	at   time.Time
}

func newBucket(rate, burst int) *bucket {
	return &bucket{rate: float64(rate), burst: float64(burst), have: float64(burst), at: time.Now()}
}

// take spends n bytes, or nothing if there are not that many.
func (b *bucket) take(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.have = min(b.burst, b.have+b.rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.have < float64(n) {
		return false
	}
	b.have -= float64(n)
	return true
}
