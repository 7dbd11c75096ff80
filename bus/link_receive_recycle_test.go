package bus_test

import (
	"bytes"
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
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

// Bodies of all ways come back: small ones that share a block, those read to where
// they belong, and those that come in chunks.
func TestBodiesComeBack(t *testing.T) {
	if !bus.Recycling {
		t.Skip("nothing is recycled under the race detector")
	}
	both(t, func(t *testing.T, p pair) {
		sizes := []int{1000, 20_000, 100_000}
		if !p.linked { // larger ones within a node have plain memory of their own
			sizes = sizes[:1]
		}
		for _, size := range sizes {
			handled, before := make(chan struct{}), bus.Recycled(p.to)
			c := consume(t, p.to, "a", func(context.Context, *bus.Message) error { handled <- struct{}{}; return nil })
			for range 100 {
				go func() {
					if err := p.from.Send(t.Context(), "a", make([]byte, size)); err != nil {
						t.Error(err)
					}
				}()
			}
			for range 100 {
				<-handled
			}
			c.Close()
			synctest.Wait()
			for range 100 {
				if runtime.GC(); bus.Recycled(p.to) > before {
					break
				}
			}
			if bus.Recycled(p.to) <= before {
				t.Errorf("no body of %d bytes came back", size)
			}
		}
	})
}

// A body that somebody keeps does not keep the bus that it came to.
func TestKeptBodyKeepsNoBus(t *testing.T) {
	var kept []byte
	var gone weak.Pointer[bus.EventBus]
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		consume(t, c.Bus(1), "a", func(_ context.Context, m *bus.Message) error { kept = m.Body; return nil })
		if err := c.Bus(0).Send(t.Context(), "a", make([]byte, 20_000)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		gone = weak.Make(c.Bus(1))
	})
	for range 100 {
		if runtime.GC(); gone.Value() == nil {
			break
		}
	}
	if gone.Value() != nil || len(kept) == 0 {
		t.Error("the bus is still there, for a body of", len(kept), "bytes")
	}
	runtime.KeepAlive(kept)
}
