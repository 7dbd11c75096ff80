package dashboard

import (
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/inspect"
)

// A spread is how long things take: of late, where there are some and nodes tell their
// buckets, and else since the nodes started.
type spread struct {
	late, ever bus.Histogram
	p50, p99   float64 // the longest that a node tells, where they tell no buckets
}

// add adds what a node tells, of requests or, where there are none, of handling.
func (s *spread) add(before, now *inspect.Durations) {
	is := spreadOf(now)
	if is == nil {
		return
	}
	s.p50, s.p99 = max(s.p50, is.P50), max(s.p99, is.P99)
	was := spreadOf(before)
	for i, n := range is.Buckets[:min(len(is.Buckets), len(s.ever.Buckets))] {
		s.ever.Buckets[i] += n
		if was == nil || len(was.Buckets) == 0 {
			continue
		}
		if i < len(was.Buckets) {
			n -= min(n, was.Buckets[i])
		}
		s.late.Buckets[i] += n
	}
}

func spreadOf(d *inspect.Durations) *inspect.Spread {
	switch {
	case d == nil:
		return nil
	case d.Request != nil:
		return d.Request
	}
	return d.Handling
}

// quantiles are nil where nothing is known.
func (s *spread) quantiles() (p50, p99 *float64) {
	h := &s.late
	if h.Count() == 0 {
		h = &s.ever
	}
	if h.Count() > 0 {
		return seconds(h.Quantile(0.5)), seconds(h.Quantile(0.99))
	}
	if s.p99 > 0 {
		return &s.p50, &s.p99
	}
	return nil, nil
}

func seconds(d time.Duration) *float64 {
	s := d.Seconds()
	return &s
}
