package cluster_test

import (
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
)

// A node that comes back at the address of one that lost power takes its place at
// once: its HELLO proves the old boot dead, whose links are still up.
func TestRestartAfterPowerLoss(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		old := c.Node(2).Self().Boot
		c.PowerOff(2)
		time.Sleep(100 * time.Millisecond)
		for _, i := range []int{0, 1} {
			if !hasLink(c.Node(i), old) {
				t.Errorf("node %d lost the link already; nothing is tested", i)
			}
		}
		began := time.Now()
		at := c.Restart(2)
		joined := time.Since(began)
		for _, i := range []int{0, 1} {
			c.Await("the old one is replaced", 1200*time.Millisecond-joined, func() bool {
				return !hasLink(c.Node(i), old) && hasLink(c.Node(i), c.Node(at).Self().Boot)
			})
		}
		t.Logf("replaced within %v; the old one is forgotten after %v", time.Since(began), c.AwaitLinked(0, 1, at))
	})
}

// hasLink reports whether a node is linked with a boot.
func hasLink(n *clustertest.Node, boot uint64) bool {
	for _, p := range n.Bus.Peers() {
		if p.Boot == boot {
			return true
		}
	}
	return false
}

// Streams that break are dialled again, and gossip is not asked for it.
func TestResetStreams(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		events := c.Node(0).Events(t.Context())
		for range 4 { // joined and linked, of two
			<-events
		}
		c.Reset(0, 1)
		t.Logf("linked again after %v", c.Await("0 noticed", time.Second, func() bool { return !c.Linked(0, 1, 2) })+c.AwaitLinked())
		boot := c.Node(1).Self().Boot
		if e, ok := (<-events).(cluster.Unlinked); !ok || e.Member.Boot != boot || e.Err == nil {
			t.Errorf("%+v; want node 1 to be unlinked", e)
		}
		if e, ok := (<-events).(cluster.Linked); !ok || e.Member.Boot != boot {
			t.Errorf("%+v; want node 1 to be linked", e)
		}
	})
}

// A link of which one direction is lost is noticed, and replaced.
func TestCutOneWay(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		c.Network().Cut(c.Node(0).IP, c.Node(1).IP)
		took := c.Await("the link broke", 6*time.Second, func() bool { return !c.Linked(0, 1, 2) })
		t.Logf("noticed after %v, linked again after %v", took, c.AwaitLinked())
	})
}

// Nodes that do not hear each other one way, or at all, but are both heard by a
// third stay members, and are linked again when they can be.
func TestPartialPartition(t *testing.T) {
	t.Parallel()
	for name, block := range map[string]func(*clustertest.Cluster){
		"one way": func(c *clustertest.Cluster) { c.Block(0, 1) },
		"both":    func(c *clustertest.Cluster) { c.Block(0, 1); c.Block(1, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clustertest.Run(t, 5, func(t *testing.T, c *clustertest.Cluster) {
				block(c)
				c.Await("0 and 1 are not linked", 6*time.Second, func() bool { return !c.Linked(0, 1, 2, 3, 4) })
				time.Sleep(30 * time.Second)
				if n := len(c.Node(2).Bus.Peers()); n != 4 {
					t.Errorf("the third is linked with %d nodes, want 4", n)
				}
				c.Heal()
				t.Logf("healed after %v", c.Await("one cluster", 15*time.Second, func() bool { return c.Linked(0, 1, 2, 3, 4) }))
			})
		})
	}
}

// After a partition longer than gossip remembers anybody, discovery brings the
// islands together.
func TestLongPartition(t *testing.T) {
	t.Parallel()
	if testing.Short() || racing {
		t.Skip("two hours of virtual time")
	}
	for name, apart := range map[string][]int{"one alone": {0}, "two and two": {0, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clustertest.Run(t, 4, func(t *testing.T, c *clustertest.Cluster) {
				d := 2 * time.Hour // gossip forgets after one
				if figures {
					d = 25 * time.Hour
				}
				c.Partition(apart)
				time.Sleep(d)
				c.Heal()
				t.Logf("%v: healed after %v", d, c.Await("one cluster", time.Minute, func() bool { return c.Linked(0, 1, 2, 3) }))
			})
		})
	}
}

// Many nodes that start at the same moment find each other, on a network that
// loses packets.
func TestStartTogether(t *testing.T) {
	t.Parallel()
	size := 20
	if testing.Short() || racing {
		size = 7
	}
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.New(t, 0, clustertest.WithSeed(7))
		c.Network().SetLoss(0.05)
		began := time.Now()
		c.StartMany(size)
		t.Logf("%d nodes joined within %v, linked after %v more", size, time.Since(began), c.AwaitLinked())
	})
}

// Close may be called by many at once, and while Join of others is under way.
func TestCloseByMany(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		var wg sync.WaitGroup
		for i := range 3 {
			for range 5 {
				wg.Go(func() {
					if err := c.Node(i).Close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		for i := range 3 {
			<-c.Node(i).Done()
			if got := c.Node(i).State(); got != cluster.StateLeft {
				t.Errorf("node %d is %v, want left", i, got)
			}
		}
	})
}

// A peer that said goodbye is not dialled again, though gossip, here deaf, counts
// it among the living for a while.
func TestNoDialAfterGoodbye(t *testing.T) {
	t.Parallel()
	j := new(journal)
	log := slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
	clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		c.Network().SetLoss(1)
		if err := c.Node(2).Close(); err != nil {
			t.Error(err)
		}
		c.Await("gossip gave it up", 10*time.Second, func() bool { return c.Linked(0, 1) })
		if j.count("peer said goodbye") != 1 || j.count("dial failed") != 0 {
			t.Errorf("goodbyes %d, dials %d", j.count("peer said goodbye"), j.count("dial failed"))
		}
	}, clustertest.WithConfig(func(i int, c *cluster.Config) {
		if i == 0 {
			c.Logger = log
		}
	}))
}
