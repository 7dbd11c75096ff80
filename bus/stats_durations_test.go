package bus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// TestDurations: requests, handling and waiting for room are timed, each where it takes
// place, and stay where the address is forgotten.
func TestDurations(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		c := consume(t, p.to, "a", func(context.Context, *bus.Message) error { time.Sleep(10 * time.Millisecond); return nil }, bus.WithWindow(1<<10))
		for range 3 {
			p.from.Request(t.Context(), "a", nil)
		}
		for range 20 {
			go p.from.Send(t.Context(), "a", nil)
		}
		time.Sleep(time.Second)
		from, to := p.from.Durations("a"), p.to.Durations("a")
		if n, q := from.Request.Count(), from.Request.Quantile(0.5); n != 3 || q < 8*time.Millisecond || q > 17*time.Millisecond || from.Request.Sum != 30*time.Millisecond {
			t.Errorf("%d requests, half of them within %v, %v in all", n, q, from.Request.Sum)
		}
		if n := to.Handling.Count(); n != 23 || to.Handling.Sum != 230*time.Millisecond {
			t.Errorf("%d handled in %v", n, to.Handling.Sum)
		}
		if n := from.Stall.Count(); n == 0 || n > 20 || from.Stall.Quantile(1) > 300*time.Millisecond {
			t.Errorf("%d have waited, for %v at most", n, from.Stall.Quantile(1))
		}
		c.Close()
		synctest.Wait()
		if all := p.from.Durations(""); all.Request != from.Request || all.Stall != from.Stall {
			t.Errorf("forgotten: %+v", all)
		}
		if again := p.from.Durations("a"); again != (bus.Durations{}) {
			t.Errorf("of an address that is not known: %+v", again)
		}
	})
}

// TestSlowOnesAreNotSpread: a message that takes long is timed by itself beside others
// that came with it, once handlers there are known to be slow.
func TestSlowOnesAreNotSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		consume(t, eb, "a", func(_ context.Context, m *bus.Message) error {
			time.Sleep(time.Millisecond * time.Duration(len(m.Body)))
			return nil
		})
		p := consume(t, eb, "a", nothing)
		p.Close()
		send(t, eb, "a", "x")
		time.Sleep(time.Second)
		for range 63 {
			send(t, eb, "a", "x")
		}
		send(t, eb, "a", string(make([]byte, 1000)))
		time.Sleep(10 * time.Second)
		h := eb.Durations("a").Handling
		if h.Count() != 65 || h.Quantile(0.98) > 3*time.Millisecond || h.Quantile(1) < 900*time.Millisecond {
			t.Errorf("%d handled, 98 %% within %v, all within %v", h.Count(), h.Quantile(0.98), h.Quantile(1))
		}
	})
}

// TestManyAreSampled: where very much happens some stand for others, and the count is
// right all the same.
func TestManyAreSampled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		consume(t, eb, "a", nothing)
		const n = 128 + 16*50
		for range n {
			if _, err := eb.Request(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
		}
		if d := eb.Durations("a"); d.Request.Count() != n {
			t.Errorf("%d of %d requests", d.Request.Count(), n)
		}
	})
}

// TestHistogram: quantiles and sums of a histogram.
func TestHistogram(t *testing.T) {
	t.Parallel()
	var h bus.Histogram
	if h.Quantile(0.5) != 0 || h.Count() != 0 {
		t.Error("an empty one is not empty")
	}
	h.Buckets[0], h.Buckets[3], h.Buckets[31] = 50, 49, 1
	h.Add(&bus.Histogram{Sum: time.Second})
	for q, want := range map[float64]time.Duration{0.5: 128, 0.99: 1024, 0.25: 64} {
		if got := h.Quantile(q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if h.Sum != time.Second || h.Quantile(1) < 100*time.Second || bus.HistogramBound(30) != 1<<37 {
		t.Errorf("%v, %v", h.Sum, h.Quantile(1))
	}
}
