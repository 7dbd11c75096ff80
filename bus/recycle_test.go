package bus_test

import (
	"bytes"
	"context"
	"runtime"
	"testing"

	"github.com/runrig-go/runrig/bus"
)

// What a handler keeps of bodies, whole ones or parts, is never overwritten by
// those that come later, however often the collector runs.
func TestKeptBodiesStay(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		const n = 1500
		sizes := []int{100, 128, 1000, 5000, 20_000, 64 << 10, 100_000}
		type part struct{ seed, from, to int }
		kept := map[part][]byte{}
		done := make(chan struct{})
		i := 0
		consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error {
			switch size := len(m.Body); i % 5 {
			case 0:
				kept[part{i, 0, size}] = m.Body
			case 1:
				kept[part{i, size / 2, size/2 + 10}] = m.Body[size/2 : size/2+10]
			}
			if i++; i%100 == 0 {
				runtime.GC()
			}
			if i == n {
				close(done)
			}
			return nil
		})
		for i := range n {
			if err := p.from.Send(t.Context(), "a", noise(sizes[i%len(sizes)], uint64(i))); err != nil {
				t.Fatal(err)
			}
		}
		<-done
		for k, b := range kept {
			if want := noise(sizes[k.seed%len(sizes)], uint64(k.seed)); !bytes.Equal(b, want[k.from:k.to]) {
				t.Errorf("message %d, [%d:%d] of %d bytes, is not what it was", k.seed, k.from, k.to, len(want))
			}
		}
	})
}
