package cluster_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
)

// A node that is cut off says so within six seconds, in State and in Members,
// whatever the size of the cluster, and that is all it says until it is back. It
// serves all the same.
func TestCutOff(t *testing.T) {
	t.Parallel()
	for _, size := range []int{2, 3, 5, 10, 20, 50} {
		if size > 10 && (testing.Short() || racing) {
			continue
		}
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			clustertest.Run(t, size, func(t *testing.T, c *clustertest.Cluster) {
				time.Sleep(2 * time.Minute)
				n := c.Node(0)
				c.Silence(0)
				t.Logf("joining after %v", c.Await("it says that it is cut off", 6*time.Second, func() bool { return n.State() == cluster.StateJoining }))
				t.Logf("no member after %v more", c.Await("it counts nobody among the living", time.Second, func() bool { return living(n) == 0 }))
				for range 60 {
					time.Sleep(time.Second)
					if n.State() != cluster.StateJoining || !n.Serving() || living(n) > 0 || n.Trouble() == nil {
						t.Fatalf("state %v, serving %v, %d alive, trouble %v; want joining, true, 0, some", n.State(), n.Serving(), living(n), n.Trouble())
					}
				}
				c.Heal()
				t.Logf("back after %v", c.AwaitLinked())
				if n.State() != cluster.StateReady || n.Trouble() != nil {
					t.Errorf("state %v, trouble %v; want ready, none", n.State(), n.Trouble())
				}
			}, secured())
		})
	}
}

// living counts the others that a node takes for alive.
func living(n *clustertest.Node) (count int) {
	for _, m := range n.Members() {
		if m.Boot != n.Self().Boot && m.Status == cluster.StatusAlive {
			count++
		}
	}
	return count
}

// Several that are cut off together notice it, too: they are fewer than those
// whom they have lost, so that what gossip still holds does not count.
func TestCutOffTogether(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 10, func(t *testing.T, c *clustertest.Cluster) {
		time.Sleep(time.Minute)
		c.Partition([]int{0, 1})
		c.Await("they count each other among the living, and nobody else", 6*time.Second, func() bool { return c.Linked(0, 1) })
		c.Heal()
		c.AwaitLinked()
	})
}

// A node whose others were killed is alone, and one that they left is at once.
func TestLastSurvivor(t *testing.T) {
	t.Parallel()
	for how, end := range map[string]func(c *clustertest.Cluster, i int){
		"killed": func(c *clustertest.Cluster, i int) { c.Kill(i) },
		"closed": func(c *clustertest.Cluster, i int) { _ = c.Node(i).Close() },
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
				time.Sleep(5 * time.Minute)
				end(c, 1)
				end(c, 2)
				n := c.Node(0)
				c.Await("it is alone", 5*time.Second, func() bool { return n.State() == cluster.StateAlone })
				for range 300 {
					time.Sleep(time.Second)
					if n.State() != cluster.StateAlone || !n.Serving() {
						t.Fatalf("state %v, serving %v; want alone, true", n.State(), n.Serving())
					}
				}
			})
		})
	}
}

// A node is fit to serve from when it has found others or that there are none,
// and no failure of discovery changes that.
func TestServing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		n, _, _ := alone(t, discovery.ProviderFunc(func(context.Context) ([]string, error) {
			if broken.Load() {
				return nil, errors.New("registry on fire")
			}
			return nil, nil
		}))
		if n.Serving() || n.Trouble() == nil || !strings.Contains(n.Trouble().Error(), "registry on fire") {
			t.Errorf("serving %v, trouble %v", n.Serving(), n.Trouble())
		}
		broken.Store(false)
		time.Sleep(10 * time.Second)
		if !n.Serving() || n.Trouble() != nil {
			t.Errorf("serving %v, trouble %v when discovery has answered", n.Serving(), n.Trouble())
		}
		broken.Store(true)
		time.Sleep(10 * time.Minute)
		if n.State() != cluster.StateAlone || !n.Serving() || n.Trouble() == nil {
			t.Errorf("state %v, serving %v, trouble %v; want alone, true, some", n.State(), n.Serving(), n.Trouble())
		}
		_ = n.Close()
		if n.Serving() {
			t.Error("a node that is closed serves")
		}
	})
}

// faulty is a network on which some dials do not get through.
type faulty struct {
	cluster.Network
	dials *atomic.Int64            // how many there were
	fails func(to netip.Addr) bool // is asked at each
}

func (f faulty) Dial(ctx context.Context, local netip.Addr, to netip.AddrPort) (net.Conn, error) {
	if !f.fails(to.Addr()) {
		return f.Network.Dial(ctx, local, to)
	}
	f.dials.Add(1)
	return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: errors.New("no route today")}
}

// Where streams do not pass between two members the state says so, with the name
// and the cause; gossip's complaints do not fill the log.
func TestDegraded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := new(journal)
		var cut atomic.Bool
		c := clustertest.New(t, 3, clustertest.WithConfig(func(i int, conf *cluster.Config) {
			if i == 2 {
				conf.Logger = slog.New(slog.NewTextHandler(j, nil))
			}
			conf.Network = faulty{conf.Network, new(atomic.Int64), func(to netip.Addr) bool {
				return cut.Load() && (i == 1 && to.String() == "10.0.0.3" || i == 2 && to.String() == "10.0.0.2")
			}}
		}))
		cut.Store(true)
		c.Reset(1, 2)
		n := c.Node(2)
		c.Await("it says that something is wrong", 7*time.Second, func() bool { return n.State() == cluster.StateDegraded })
		other := c.Node(1).Self()
		if text := n.Trouble().Error(); !strings.Contains(text, other.String()) || !strings.Contains(text, "no route today") {
			t.Errorf("trouble %q names not whom and why", text)
		}
		if m := member(n, other.Boot); m.Status != cluster.StatusAlive || m.Err == nil || !n.Serving() {
			t.Errorf("member %+v, serving %v", m, n.Serving())
		}
		time.Sleep(time.Hour)
		if j.count("WARN", "degraded", "no route today") != 1 || j.count("") > 20 {
			t.Errorf("the log of an hour:\n%s", j.text.String())
		}
		cut.Store(false)
		c.AwaitLinked()
		if n.State() != cluster.StateReady || n.Trouble() != nil {
			t.Errorf("state %v, trouble %v; want ready, none", n.State(), n.Trouble())
		}
	})
}

// member returns what a node knows of another.
func member(n *clustertest.Node, boot uint64) cluster.Member {
	all := n.Members()
	if i := slices.IndexFunc(all, func(m cluster.Member) bool { return m.Boot == boot }); i >= 0 {
		return all[i]
	}
	return cluster.Member{}
}
