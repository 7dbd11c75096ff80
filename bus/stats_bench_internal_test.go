package bus

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkTimedRequest is what it costs to time and count a request; most are not timed
// where so many are.
func BenchmarkTimedRequest(b *testing.B) {
	eb := newQuiet(b)
	mustConsume(b, eb, "a", func(context.Context, *Message) error { return nil })
	s, r := &eb.core.sender, eb.core.rings.dir.get("a")
	b.ReportAllocs()
	for b.Loop() {
		s.asked(r, "a", s.asks(r), nil)
	}
}

// BenchmarkSurvey looks at many addresses, and tells for how long it holds core.mu at a
// time: the mean, as in the longest the system has run something else.
func BenchmarkSurvey(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n, " addresses"), func(b *testing.B) {
			eb := newQuiet(b)
			for i := range n {
				mustConsume(b, eb, fmt.Sprint("a", i), func(context.Context, *Message) error { return nil })
			}
			s := survey{core: eb.core}
			var locked time.Duration
			steps := 0
			b.ReportAllocs()
			for b.Loop() {
				eb.TopAddresses(200, func(a *AddressStats) uint64 { return a.Sent })
				for rings := eb.core.rings.dir.all(); len(rings) > 0; {
					began := time.Now()
					looked := s.look(rings)
					locked += time.Since(began)
					steps++
					rings = rings[looked:]
				}
			}
			b.ReportMetric(float64(locked.Microseconds())/float64(steps), "µs-locked")
		})
	}
}
