package bus

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// coming is a body that comes in as fast as it is granted memory.
type coming struct {
	reservation
	come int64
}

func newBudget(t testing.TB) (*budget, func(size int64, l *link) *coming, func() *link) {
	eb := New()
	t.Cleanup(func() { eb.Close() })
	b := new(budget)
	b.init(64 << 20)
	return b, func(size int64, l *link) *coming { return &coming{reservation: reservation{peer: l, size: size}} },
		func() *link { return eb.core.newLink(Peer{}, nil, nil) }
}

// advance lets some of the body come, and asks for more as a reader does.
func (c *coming) advance(b *budget, n int64, soon bool) (whole bool) {
	c.come = min(c.come+n, c.held.Load())
	if c.come == c.size {
		b.release(&c.reservation)
		return true
	}
	if held := c.held.Load(); held < c.size && 2*c.come >= held {
		b.more(&c.reservation, soon)
	}
	return false
}

// Whatever comes in whichever order, there is always a body that can go on, until
// all have come and all memory is free.
func TestMemoryForLargeBodiesNeverLocksUp(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		b, body, newLink := newBudget(t)
		var links []*link
		for range 2 + rng.IntN(40) {
			links = append(links, newLink())
		}
		var on []*coming
		left := 300
		for left > 0 || len(on) > 0 {
			if left > 0 && len(on) < 2*len(links) && rng.IntN(3) > 0 {
				left--
				c := body(64<<10+rng.Int64N(16<<20-64<<10+1), links[rng.IntN(len(links))])
				on = append(on, c)
				b.ask(&c.reservation, rng.IntN(8) == 0)
			}
			if left > 0 && rng.IntN(2) == 0 {
				continue
			}
			var can []int
			for i, c := range on {
				if c.come < c.held.Load() {
					can = append(can, i)
				}
			}
			if len(can) == 0 {
				if len(on) == 0 {
					continue
				}
				t.Fatalf("seed %d: %d bodies, none can go on; %d of %d bytes free", seed, len(on), b.free, b.total)
			}
			i := can[rng.IntN(len(can))]
			if on[i].advance(b, 1+rng.Int64N(1<<20), rng.IntN(16) == 0) {
				on = slices.Delete(on, i, i+1)
			}
			if b.free < 0 || b.stepped > b.forSteps() || b.firsts > b.forFirsts() {
				t.Fatalf("seed %d: %d bytes free, %d held in steps", seed, b.free, b.stepped)
			}
		}
		if b.free != b.total || b.firsts+b.stepped != 0 || len(b.steps)+len(b.queue)+len(b.holds) > 0 {
			t.Fatalf("seed %d: in the end %+v", seed, b)
		}
	}
}

// However many slow peers have taken what they can get of the memory, another one
// can begin, and gets all that it needs at once when it has shown that it is not
// slow.
func TestSlowPeersLeaveMemoryToOthers(t *testing.T) {
	t.Parallel()
	for _, peers := range []int{1, 2, 10, 100} {
		b, body, newLink := newBudget(t)
		for range peers {
			l := newLink()
			for range bulksAhead {
				c := body(16<<20, l)
				b.ask(&c.reservation, false)
				for had := int64(-1); c.held.Load() > had && c.held.Load() < c.size; { // but never its last byte
					had = c.held.Load()
					c.advance(b, had, false)
				}
			}
		}
		l := newLink()
		small := body(100<<10, l)
		if b.ask(&small.reservation, false); small.held.Load() != small.size {
			t.Errorf("%d slow peers: no room for 100 KiB", peers)
		}
		b.release(&small.reservation)
		large := body(16<<20, l)
		if b.ask(&large.reservation, false); large.held.Load() == 0 {
			t.Errorf("%d slow peers: none can begin beside them; %d bytes free", peers, b.free)
			continue
		}
		if large.advance(b, large.held.Load(), true); large.held.Load() != large.size {
			t.Errorf("%d slow peers: %d of %d bytes for one that comes soon", peers, large.held.Load(), large.size)
		}
	}
}
