package bus_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// believes returns what a bus knows of the consumers of a peer that is linked.
func believes(t *testing.T, eb *bus.EventBus, peer string) bus.RoutesDigest {
	t.Helper()
	for _, l := range eb.Links() {
		if l.Peer.Name == peer {
			return l.Routes
		}
	}
	t.Fatalf("no link to %s", peer)
	return bus.RoutesDigest{}
}

// TestRoutesDigest: whatever consumers come and go, and links with them, what a node
// knows of another is what that has; and another consumer makes another digest.
func TestRoutesDigest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		var open []*bus.Consumer
		seen := map[bus.RoutesDigest]bool{}
		check := func(what string, n int) {
			t.Helper()
			synctest.Wait()
			has, believed := c.Bus(1).Routes(), believes(t, c.Bus(0), "n1")
			if has != believed || has.Count != n {
				t.Errorf("%s: node 1 has %+v, node 0 believes %+v", what, has, believed)
			}
			if back := believes(t, c.Bus(1), "n0"); back != (bus.RoutesDigest{}) {
				t.Errorf("%s: of a node that has none, %+v", what, back)
			}
			if seen[has] {
				t.Errorf("%s: a digest of before", what)
			}
			seen[has] = true
		}
		check("nothing", 0)
		for i := range 50 {
			open = append(open, consume(t, c.Bus(1), fmt.Sprint("a", i%20), nothing))
		}
		consume(t, c.Bus(1), "here", nothing, bus.LocalOnly())
		check("some", 50)
		for _, i := range []int{3, 17, 40} {
			open[i].Close()
		}
		check("some have gone", 47)
		consume(t, c.Bus(1), "b", nothing)
		check("one has come", 48)
		c.Break(0, 1)
		c.Link(0, 1)
		if has, believed := c.Bus(1).Routes(), believes(t, c.Bus(0), "n1"); has != believed {
			t.Errorf("a new link: node 1 has %+v, node 0 believes %+v", has, believed)
		}
	})
}

// TestConsumers: which node has how many consumers of an address.
func TestConsumers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		consume(t, c.Bus(0), "a", nothing)
		for range 40 { // more than routes that are kept in one list
			consume(t, c.Bus(1), "a", nothing)
		}
		got := c.Bus(2).Consumers("a")
		var counts []int
		for _, n := range got {
			counts = append(counts, n.Consumers)
		}
		if len(got) != 2 || !slices.Equal(counts, []int{1, 40}) || got[0].Node == got[1].Node {
			t.Errorf("%+v", got)
		}
		if got := c.Bus(0).Consumers("b"); got != nil {
			t.Errorf("of an address that nobody consumes: %+v", got)
		}
	})
}
