package main

import "slices"

// cell is a case of one system, and what was measured of it.
type cell struct {
	c       *benchCase
	system  string
	fleet   *fleet // nil while there is none, and if each run has its own
	samples []sample
	notYet  string
	err     error

	warmLost int64 // messages, while it was not yet measured
}

// alive reports whether there is a point in running it again.
func (c *cell) alive() bool { return c.err == nil && c.notYet == "" }

func (c *cell) name() string { return c.c.name + " " + c.system }

// lost is a sum: one is too many.
func (c *cell) lost() int64 {
	n := c.warmLost
	for i := range c.samples {
		n += c.samples[i].lost
	}
	return n
}

// metric is what can be said of a sample.
type metric func(*sample) float64

func rateOf(s *sample) float64     { return s.rate() }
func mbpsOf(s *sample) float64     { return s.mbps() }
func p50Of(s *sample) float64      { return s.p50 }
func p99Of(s *sample) float64      { return s.p99 }
func cpuOf(s *sample) float64      { return s.cpu() }
func allocsOf(s *sample) float64   { return s.allocs() }
func memoryOf(s *sample) float64   { return s.memory }
func streamedOf(s *sample) float64 { return s.streamed }

// median returns the median of a metric.
func (c *cell) median(m metric) float64 {
	vs := make([]float64, len(c.samples))
	for i := range c.samples {
		vs[i] = m(&c.samples[i])
	}
	return median(vs)
}

// ratio returns the median of the ratios within the rounds, which what else
// happens on the machine disturbs less than it does the medians.
func (c *cell) ratio(o *cell, m metric) float64 {
	var vs []float64
	for i := range min(len(c.samples), len(o.samples)) {
		if d := m(&o.samples[i]); d > 0 {
			vs = append(vs, m(&c.samples[i])/d)
		}
	}
	return median(vs)
}

// median returns 0 of nothing.
func median(vs []float64) float64 {
	if len(vs) == 0 {
		return 0
	}
	vs = slices.Sorted(slices.Values(vs))
	n := len(vs)
	return (vs[(n-1)/2] + vs[n/2]) / 2
}
