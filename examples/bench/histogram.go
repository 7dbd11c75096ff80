package main

import (
	"math/bits"
	"sync/atomic"
)

// histogram counts durations in buckets that are at most 1.6 % wide. It is
// small, as what is alive in a process decides how often its garbage is
// collected, and may be added to concurrently.
type histogram struct {
	counts [58 << subBits]atomic.Uint32
}

const subBits = 6

// add counts a duration in nanoseconds.
func (h *histogram) add(ns int64) {
	h.counts[bucket(uint64(max(ns, 0)))].Add(1)
}

func bucket(v uint64) int {
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return (shift+1)<<subBits + int(v>>shift) - 1<<subBits
}

// value is the middle of a bucket.
func value(b int) float64 {
	if b < 1<<subBits {
		return float64(b)
	}
	shift := b>>subBits - 1
	low := uint64(b&(1<<subBits-1)|1<<subBits) << shift
	return float64(low) + float64(uint64(1)<<shift)/2
}

func (h *histogram) merge(o *histogram) {
	for i := range o.counts {
		h.counts[i].Add(o.counts[i].Load())
	}
}

func (h *histogram) total() (n int64) {
	for i := range h.counts {
		n += int64(h.counts[i].Load())
	}
	return n
}

// quantile returns a quantile in microseconds, 0 of nothing.
func (h *histogram) quantile(q float64) float64 {
	rank := int64(q * float64(h.total()))
	for i := range h.counts {
		if rank -= int64(h.counts[i].Load()); rank < 0 {
			return value(i) / 1e3
		}
	}
	return 0
}
