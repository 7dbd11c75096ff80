package bus

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Durations are how long things took at an address, by powers of two.
type Durations struct {
	Request  Histogram // requests of this node, from the call to its return, however they ended
	Handling Histogram // messages in handlers of this node; those shorter than 4 µs as the mean of some that came together
	Stall    Histogram // messages of this node that found no consumer with room, until they were given to one or given up
}

// Histogram counts durations. Bucket i has those of less than 2^(HistogramShift+i) ns that
// are in no bucket before it; the last one has all others.
//
// Where very much happens at an address not all of it is timed, as the clock costs more
// than all the rest: of each 50 ms the first 128, and then one in 16, which counts as 16.
type Histogram struct {
	Buckets [HistogramBuckets]uint64
	Sum     time.Duration
}

// The buckets of a [Histogram]: the first is for less than 128 ns, the last for 2^37 ns,
// about 137 s, and more.
const (
	HistogramBuckets = 32
	HistogramShift   = 7
)

// HistogramBound returns the bound of a bucket, which is not part of it. The last bucket
// has none.
func HistogramBound(bucket int) time.Duration { return 1 << (HistogramShift + bucket) }

// Count returns how many durations there are.
func (h *Histogram) Count() (n uint64) {
	for _, k := range h.Buckets {
		n += k
	}
	return n
}

// Add adds those of o.
func (h *Histogram) Add(o *Histogram) {
	for i, n := range o.Buckets {
		h.Buckets[i] += n
	}
	h.Sum += o.Sum
}

// Quantile returns the duration than which a part q of all, 0.99 say, are not longer. It
// reckons as if those of a bucket were spread evenly, and returns 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := q * float64(h.Count())
	for i, n := range h.Buckets {
		if n == 0 || rank > float64(n) {
			rank -= float64(n)
			continue
		}
		low := time.Duration(0)
		if i > 0 {
			low = HistogramBound(i - 1)
		}
		return low + time.Duration(max(0, rank)/float64(n)*float64(HistogramBound(i)-low))
	}
	return 0
}

// Durations returns how long things took at an address; with "" at all, those that
// are forgotten too. That of all addresses takes time in proportion to them, and no lock.
func (eb *EventBus) Durations(address string) (d Durations) {
	c := eb.core
	if address != "" {
		if r := c.rings.dir.get(address); r != nil {
			r.page.addTo(&d)
		}
		return d
	}
	c.books.forgotten.durations(&d)
	for _, r := range c.rings.dir.all() {
		r.page.addTo(&d)
	}
	return d
}

func (p *page) addTo(d *Durations) {
	if a := p.account.Load(); a != nil {
		a.durations(d)
	}
}

func (a *account) durations(d *Durations) {
	for s, h := range [allSpans]*Histogram{&d.Request, &d.Handling, &d.Stall} {
		if m := a.spans[s].Load(); m != nil {
			m.addTo(h)
		}
	}
}

// span is one of the Durations.
type span uint8

const (
	spanRequest span = iota
	spanHandling
	spanStall
	allSpans
)

// span returns the meter of a span.
func (a *account) span(s span) *meter {
	m := a.spans[s].Load()
	for m == nil {
		if m = new(meter); !a.spans[s].CompareAndSwap(nil, m) {
			m = a.spans[s].Load()
		}
	}
	return m
}

// sampler says what is timed of what happens.
type sampler struct {
	tick int64  // of the coarse clock
	n    uint32 // since then
}

const (
	timedAlways = 128 // of each tick of the coarse clock; then
	timedOneIn  = 16
)

// next returns for how many things the next one stands, in a tick of the coarse clock; 0
// if it is not timed.
func (s *sampler) next(tick int64) uint32 {
	if s.tick != tick {
		s.tick, s.n = tick, 0
	}
	s.n++
	return standsFor(s.n)
}

// standsFor returns for how many things number n of a tick stands.
func standsFor(n uint32) uint32 {
	switch {
	case n <= timedAlways:
		return 1
	case n%timedOneIn == 0:
		return timedOneIn
	}
	return 0
}

// meter is a Histogram that any goroutine adds to, and a sampler that any may ask.
type meter struct {
	tick  atomic.Int64
	begun atomic.Uint32
	slow  atomic.Bool // the messages of the last stint took slowMessage or more
	sum   atomic.Uint64
	by    [HistogramBuckets]atomic.Uint64
}

// timing is something that has begun; one that stands for 0 is not timed.
type timing struct {
	at     int64 // by the bus's clock
	stands uint32
}

// begin begins something, which is timed or not.
func (m *meter) begin(c *clock) (t timing) {
	if tick := c.roughly(); m.tick.Load() != tick {
		m.tick.Store(tick)
		m.begun.Store(0)
	}
	if t.stands = standsFor(m.begun.Add(1)); t.stands > 0 {
		t.at = c.now()
	}
	return t
}

// end adds what n things took that have begun together, each the same.
func (m *meter) end(t timing, c *clock, n int) {
	if t.stands == 0 || n == 0 {
		return
	}
	took := max(0, c.now()-t.at)
	each := took / int64(n)
	m.sum.Add(uint64(took) * uint64(t.stands))
	m.by[bucketOf(each)].Add(uint64(n) * uint64(t.stands))
	if slow := each >= slowMessage; m.slow.Load() != slow {
		m.slow.Store(slow)
	}
}

// bucketOf returns the bucket of a duration of nanoseconds.
func bucketOf(ns int64) int {
	return min(max(bits.Len64(uint64(ns))-HistogramShift, 0), HistogramBuckets-1)
}

func (m *meter) addTo(h *Histogram) {
	for i := range m.by {
		h.Buckets[i] += m.by[i].Load()
	}
	h.Sum += time.Duration(m.sum.Load())
}

// absorb moves what is in o to m.
func (m *meter) absorb(o *meter) {
	for i := range o.by {
		m.by[i].Add(o.by[i].Swap(0))
	}
	m.sum.Add(o.sum.Swap(0))
}

// begin begins something at an address.
func (h *home) begin(s span) timing { return h.books.of(&h.page).span(s).begin(&h.clock) }

// end ends n things that have begun together.
func (h *home) end(s span, t timing, n int) {
	if t.stands != 0 && n > 0 {
		a := h.books.of(&h.page)
		a.span(s).end(t, &h.clock, n)
		h.books.noted(&h.page, a)
	}
}

// stint is messages that a worker handles one after the other, and that are timed together:
// those of a batch or, where handlers take long, one.
type stint struct {
	timing
	left int  // messages that the worker was to handle yet, when it began
	each bool // it is over after one
}

// slowMessage is from how long a message may take on that each is timed by itself.
const slowMessage = int64(4 * time.Microsecond)

// beginStint begins a stint that stands for so many.
func (h *home) beginStint(stands uint32, left int) stint {
	slow := h.books.of(&h.page).span(spanHandling).slow.Load()
	return stint{timing{h.clock.now(), stands}, left, slow}
}

// endStint ends a stint of n messages.
func (h *home) endStint(s *stint, n int) {
	h.end(spanHandling, s.timing, n)
	*s = stint{}
}
