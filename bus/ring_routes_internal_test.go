package bus

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/runrig-go/runrig/bus/internal/sequence"
)

// A set has the routes that were put in and not taken out, each once, and so has
// each set that was made before it.
func TestRouteSet(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		links := []*link{nil, new(link), new(link), new(link)}
		var have []*route
		set := noRoutes
		type version struct {
			set  *routeSet
			have []*route
		}
		var versions []version
		for range 30 {
			switch n := rng.IntN(100); {
			case rng.IntN(5) == 0 && len(have) > 0: // many at once
				n = rng.IntN(len(have))
				rng.Shuffle(len(have), func(i, j int) { have[i], have[j] = have[j], have[i] })
				set = set.without(have[n:])
				have = slices.Clone(have[:n])
			case rng.IntN(2) == 0:
				for range n {
					rt := &route{to: links[rng.IntN(len(links))], published: rng.IntN(3) == 0}
					set, have = set.with(rt), append(have, rt)
				}
			default:
				for range min(n, len(have)) {
					i := rng.IntN(len(have))
					set = set.without(have[i : i+1])
					have = slices.Delete(slices.Clone(have), i, i+1)
				}
			}
			versions = append(versions, version{set, slices.Clone(have)})
		}
		for _, v := range versions {
			turns, hears := apart(v.have)
			checkRouteSet(t, v.set, turns, links)
			checkRouteSet(t, v.set.hearing(), hears, links)
			checkAudience(t, v.set, v.have, links)
			if v.set.empty() != (len(v.have) == 0) {
				t.Fatalf("%d routes are left, and empty is %v", len(v.have), v.set.empty())
			}
		}
	}
}

// checkAudience checks that a publish goes to all routes of each node, and over each link once.
func checkAudience(t *testing.T, set *routeSet, want []*route, links []*link) {
	t.Helper()
	got := map[*route]int{}
	for _, l := range links {
		a := set.audience(l)
		for i := range a.len() {
			for _, rt := range a.leaf(i) {
				if rt.link() == l {
					got[rt]++
				}
			}
		}
	}
	ways := map[*link]bool{}
	for _, rt := range want {
		if got[rt] != 1 {
			t.Fatalf("a route is %d times in its node's audience", got[rt])
		}
		if rt.link() != nil {
			ways[rt.link()] = true
		}
	}
	listeners := set.listeners(nil)
	for _, l := range listeners {
		if !ways[l] {
			t.Fatal("a link is listed twice, or has no routes")
		}
		delete(ways, l)
	}
	if len(got) != len(want) || len(ways) > 0 {
		t.Fatalf("%d routes, not %d; %d links are missing", len(got), len(want), len(ways))
	}
}

func checkRouteSet(t *testing.T, set *routeSet, want []*route, links []*link) {
	t.Helper()
	if set.len() != len(want) || (set.many == nil) != (len(want) <= sequence.LeafSize) {
		t.Fatalf("%d routes, not %d; few %d, many %v", set.len(), len(want), len(set.few), set.many)
	}
	left := map[*route]bool{}
	for _, rt := range want {
		left[rt] = true
	}
	of := map[*link]int{}
	for i, rt := range set.all() {
		if !left[rt] || set.at(i) != rt {
			t.Fatalf("route %d is in the set, though it was taken out or is there twice; at(%d) is it: %v", i, i, set.at(i) == rt)
		}
		delete(left, rt)
		of[rt.link()]++
	}
	for _, l := range links {
		n := 0
		routes := set.of(l)
		for i := range routes.len() {
			for _, rt := range routes.leaf(i) {
				if rt.link() == l {
					n++
				} else if set.many != nil {
					t.Fatal("another node's route is among those of a node")
				}
			}
		}
		if n != of[l] || l != nil && slices.Contains(set.links(nil), l) != (n > 0) {
			t.Fatalf("%d routes of a node, not %d", n, of[l])
		}
	}
}

// Of many consumers of an address on two nodes, those that close, one by one, are
// forgotten by both nodes, and those that stay take turns.
func TestManyConsumersClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := linkTwo(t)
		const n = 3 * sequence.LeafSize
		var handled [2 * n]atomic.Int32
		var open []*Consumer
		for i := range handled {
			open = append(open, mustConsume(t, []*EventBus{a, b}[i%2], "x", func(context.Context, *Message) error {
				handled[i].Add(1)
				return nil
			}))
		}
		synctest.Wait()
		for i, c := range open {
			if i%8 > 1 {
				c.Close()
			}
		}
		synctest.Wait()
		for _, eb := range []*EventBus{a, b} {
			if left := eb.core.rings.dir.get("x").routes.Load(); left.len() != n/2 || len(left.links(nil)) != 1 {
				t.Fatalf("of %d routes %d are left", n/2, left.len())
			}
			for range n / 2 {
				if err := eb.Send(t.Context(), "x", nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		synctest.Wait()
		for i := range handled {
			if got := handled[i].Load(); got != []int32{2, 0}[min(1, i%8/2)] {
				t.Errorf("consumer %d handled %d", i, got)
			}
		}
	})
}
