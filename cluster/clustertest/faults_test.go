package clustertest_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/cluster/clustertest"
)

// TestFaultsHoldForNewcomers: what cuts nodes off does so whenever the others come.
func TestFaultsHoldForNewcomers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault  func(c *clustertest.Cluster)
		linked []int // with the newcomers, 3 and 4, which are with each other
	}{
		"silence":   {func(c *clustertest.Cluster) { c.Silence(0) }, []int{1, 2}},
		"partition": {func(c *clustertest.Cluster) { c.Partition([]int{0}, []int{1, 2}) }, nil},
		"one group": {func(c *clustertest.Cluster) { c.Partition([]int{0, 1}) }, []int{2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
				tt.fault(c)
				time.Sleep(10 * time.Second)
				c.StartMany(2)
				time.Sleep(30 * time.Second)
				for _, i := range []int{3, 4} {
					want := map[uint64]bool{c.Node(3).Self().Boot: true, c.Node(4).Self().Boot: true}
					for _, j := range tt.linked {
						want[c.Node(j).Self().Boot] = true
					}
					for _, m := range c.Node(i).Members() {
						if m.Linked() != want[m.Boot] {
							t.Errorf("node %d: linked with %v: %v", i, m, m.Linked())
						}
					}
				}
				c.Heal()
				time.Sleep(2 * time.Minute)
				c.AwaitLinked()
			})
		})
	}
}

// TestPortsOfAHost: however often a host has dialled, it gets a free port to listen
// at.
func TestPortsOfAHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := clustertest.NewNetwork(1)
		l, _ := open(t, n, b)
		seen := map[netip.AddrPort]bool{}
		listen := func() {
			t.Helper()
			l, p, err := n.Host(a).Listen(t.Context(), netip.AddrPortFrom(a, 0))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = l.Close(), p.Close() })
			at := netip.MustParseAddrPort(l.Addr().String())
			if at.Port() < 40000 || at.Port() >= 50000 || seen[at] {
				t.Errorf("listens at %v", at)
			}
			seen[at] = true
		}
		listen()
		for range 70_000 {
			near, err := n.Host(a).Dial(t.Context(), netip.Addr{}, netip.AddrPortFrom(b, 1))
			if err != nil {
				t.Fatal(err)
			}
			far, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			_, _ = near.Close(), far.Close()
		}
		listen()
	})
}
