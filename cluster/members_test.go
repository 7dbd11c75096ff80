package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
)

// watch collects those of a node's events that are wanted.
func watch(t *testing.T, n *clustertest.Node, wanted func(cluster.Event) bool) func() []cluster.Event {
	var got []cluster.Event
	events := n.Events(t.Context())
	return func() []cluster.Event {
		for {
			synctest.Wait()
			select {
			case e, ok := <-events:
				if !ok {
					return got
				}
				if wanted(e) {
					got = append(got, e)
				}
			default:
				return got
			}
		}
	}
}

// is reports whether an event is of a type.
func is[E cluster.Event](e cluster.Event) bool {
	_, ok := e.(E)
	return ok
}

// A pause that no link feels is no failure, in Members or in the events, though
// gossip takes the node for failed meanwhile.
func TestPauseIsNoFailure(t *testing.T) {
	t.Parallel()
	for _, size := range []int{3, 10} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			clustertest.Run(t, size, func(t *testing.T, c *clustertest.Cluster) {
				time.Sleep(time.Minute)
				seen := watch(t, c.Node(0), func(e cluster.Event) bool { return is[cluster.Failed](e) || is[cluster.Unlinked](e) })
				gossip := 0
				for range 10 {
					c.Pause(1)
					time.Sleep(2900 * time.Millisecond)
					if !c.Node(0).Heard(c.Node(1).Self().Boot) {
						gossip++
					}
					c.Resume(1)
					time.Sleep(10 * time.Second)
					for _, e := range seen() {
						t.Fatalf("%T %+v", e, e)
					}
				}
				if gossip == 0 {
					t.Error("gossip never took it for failed: the test shows nothing")
				}
			})
		})
	}
}

// A boot that is proven dead by its successor at its address has failed in
// Members, too, and is neither dialled nor named; so that one is left at once,
// however often a process is restarted there.
func TestDeadBootsAtOneAddress(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		last, addr := 2, c.Node(2).Self().Addr
		for range 40 {
			c.Kill(last)
			time.Sleep(100 * time.Millisecond)
			last = c.Restart(last)
		}
		alive := func(i int) (boots []uint64) {
			for _, m := range c.Node(i).Members() {
				if m.Addr == addr && m.Status == cluster.StatusAlive {
					boots = append(boots, m.Boot)
				}
			}
			return boots
		}
		want := []uint64{c.Node(last).Self().Boot}
		for _, i := range []int{0, 1, last} {
			t.Logf("one boot is left after %v", c.Await("one boot is left", time.Second, func() bool { return slices.Equal(alive(i), want) }))
			t.Logf("gossip agrees after %v", c.Await("gossip agrees", time.Second, func() bool { return c.Node(i).HeardOf() == 2 }))
		}
		before := c.Node(0).Stats().DialErrors
		time.Sleep(time.Minute)
		if got := c.Node(0).Stats().DialErrors - before; got > 0 {
			t.Errorf("%d dials of the dead in a minute", got)
		}
		c.PowerOff(1)
		t.Logf("another death is noticed after %v", c.Await("another death is noticed", 5*time.Second, func() bool { return c.Linked(0, last) }))
	})
}

// What ended a link is in the event; a leave has no cause, and is no failure.
func TestWhyUnlinked(t *testing.T) {
	t.Parallel()
	for how, end := range map[string]func(c *clustertest.Cluster, i int){
		"killed":  func(c *clustertest.Cluster, i int) { c.Kill(i) },
		"powered": func(c *clustertest.Cluster, i int) { c.PowerOff(i) },
		"closed":  func(c *clustertest.Cluster, i int) { _ = c.Node(i).Close() },
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			clustertest.Run(t, 5, func(t *testing.T, c *clustertest.Cluster) {
				seen := watch(t, c.Node(0), func(e cluster.Event) bool {
					return is[cluster.Failed](e) || is[cluster.Left](e) || is[cluster.Unlinked](e)
				})
				end(c, 4)
				time.Sleep(30 * time.Second)
				var types []string
				for _, e := range seen() {
					types = append(types, fmt.Sprintf("%T", e))
					if e, ok := e.(cluster.Unlinked); ok && (e.Err == nil) != (how == "closed") {
						t.Errorf("unlinked: %v", e.Err)
					}
				}
				slices.Sort(types)
				want := "cluster.Failed cluster.Unlinked"
				if how == "closed" {
					want = "cluster.Left cluster.Unlinked"
				}
				if got := strings.Join(types, " "); got != want {
					t.Errorf("events %q, want %q", got, want)
				}
			})
		})
	}
}

// A node whose advertised address others do not reach says so, loudly and once;
// the others keep it as a member, as they are linked with it, and say once what
// they see.
func TestAdvertisesWhereNobodyReachesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logs := []*journal{new(journal), new(journal), new(journal)}
		c := clustertest.New(t, 0, clustertest.WithConfig(func(i int, conf *cluster.Config) {
			conf.Logger = slog.New(slog.NewTextHandler(logs[i], nil))
			if i == 2 {
				conf.Advertise = "10.0.9.9:7946"
			}
		}))
		for range 3 {
			c.Start()
		}
		wrong := watch(t, c.Node(2), is[cluster.Unreached])
		failed := watch(t, c.Node(0), is[cluster.Failed])
		time.Sleep(10 * time.Minute)
		if n := logs[2].count("ERROR", "do not reach it", "10.0.9.9:7946", "Config.Advertise"); n != 1 {
			t.Errorf("it says so %d times, want once:\n%s", n, logs[2].text.String())
		}
		if got := wrong(); len(got) != 1 || !errors.Is(got[0].(cluster.Unreached).Err, cluster.ErrUnreached) {
			t.Errorf("events %v, want one that it is unreached", got)
		}
		if err := c.Node(2).Trouble(); !errors.Is(err, cluster.ErrUnreached) || !c.Node(2).Serving() {
			t.Errorf("trouble %v, serving %v", err, c.Node(2).Serving())
		}
		for i := range 2 {
			if n := logs[i].count("WARN", "gossip does not reach a member", "10.0.9.9:7946"); n != 1 || logs[i].count("member failed") > 0 {
				t.Errorf("node %d says so %d times, want once:\n%s", i, n, logs[i].text.String())
			}
		}
		if n := len(failed()); n > 0 {
			t.Errorf("a member whose link holds has failed %d times", n)
		}
	})
}

// Two nodes that advertise one address, which is all that discovery tells, find
// out by asking there.
func TestAnotherNodeAtTheOwnAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := clustertest.NewNetwork(1)
		t.Cleanup(func() { time.Sleep(2 * time.Minute) }) // of virtual time: gossip's last timers
		start := func(ip string) (*cluster.Node, *journal) {
			j := new(journal)
			log := slog.New(slog.NewTextHandler(j, nil))
			n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(log)), cluster.Config{
				Network: network.Host(netip.MustParseAddr(ip)), Advertise: "10.1.0.1", Insecure: true, Logger: log, Discovery: discovery.Static("10.1.0.1:7946"),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = n.Close() })
			return n, j
		}
		start("10.1.0.1")
		b, said := start("10.1.0.2")
		time.Sleep(10 * time.Second)
		if !errors.Is(b.Trouble(), cluster.ErrAddress) || b.State() != cluster.StateJoining || said.count("ERROR", "two nodes that live advertise one address") != 1 {
			t.Errorf("state %v, trouble %v; the log:\n%s", b.State(), b.Trouble(), said.text.String())
		}
	})
}

// Nobody at all at the own address is said, too: it is mistyped, or not
// translated.
func TestNobodyAtTheOwnAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := clustertest.NewNetwork(1)
		t.Cleanup(func() { time.Sleep(2 * time.Minute) }) // of virtual time: gossip's last timers
		j := new(journal)
		log := slog.New(slog.NewTextHandler(j, nil))
		n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(log)), cluster.Config{
			Network: network.Host(netip.MustParseAddr("10.1.0.1")), Advertise: "198.51.100.1", Insecure: true, Logger: log,
			Discovery: discovery.Static("198.51.100.1:7946"),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		time.Sleep(time.Hour)
		if j.count("WARN", "nobody, not even this node", "198.51.100.1:7946", "Config.Advertise") != 1 || n.State() != cluster.StateAlone {
			t.Errorf("state %v; the log:\n%s", n.State(), j.text.String())
		}
	})
}

// Who is gone is asked less and less often, which is counted and said once; if
// discovery does not tell of it, it is not asked at all after a minute. A node
// that lost more than it has goes on asking often.
func TestDialsOfTheDead(t *testing.T) {
	t.Parallel()
	for name, told := range map[string]bool{"discovery tells of it": true, "discovery does not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Int64
				var gone atomic.Bool
				j := new(journal)
				c := clustertest.New(t, 3, clustertest.WithConfig(func(i int, conf *cluster.Config) {
					if i == 0 {
						conf.Logger = slog.New(slog.NewTextHandler(j, nil))
						conf.Network = faulty{conf.Network, &dials, func(to netip.Addr) bool { return gone.Load() && to.String() == "10.0.0.2" }}
					}
					honest := conf.Discovery
					conf.Discovery = discovery.ProviderFunc(func(ctx context.Context) ([]string, error) {
						list, err := honest.Peers(ctx)
						return slices.DeleteFunc(list, func(a string) bool { return gone.Load() && !told && strings.HasPrefix(a, "10.0.0.2:") }), err
					})
				}))
				gone.Store(true)
				c.PowerOff(1)
				began := c.Node(0).Stats()
				var each []int64
				for range 4 {
					before := dials.Load()
					time.Sleep(30 * time.Minute)
					each = append(each, dials.Load()-before)
				}
				now := c.Node(0).Stats()
				t.Logf("dials in each half hour: %v; questions %d, errors %d", each, now.Questions-began.Questions, now.DialErrors-began.DialErrors)
				if told && (each[0] > 80 || each[1] > 25 || each[1] < 10) || !told && (each[0] > 25 || each[1] > 0) {
					t.Errorf("dials in each half hour: %v", each)
				}
				if n := now.DialErrors - began.DialErrors; int64(n) < dials.Load() {
					t.Errorf("%d dials, %d counted", dials.Load(), n)
				}
				if n := j.count("nobody answers at an address", "10.0.0.2:7946"); told && n != 1 || n > 1 {
					t.Errorf("said %d times:\n%s", n, j.text.String())
				}
			})
		})
	}
}
