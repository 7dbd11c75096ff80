package cluster_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
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

// Two nodes that live and advertise one address cannot both be linked. That this
// is the cause is said, in the log and by an event, by those who notice.
func TestTwoNodesAtOneAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := clustertest.NewNetwork(1)
		t.Cleanup(func() { time.Sleep(2 * time.Minute) }) // of virtual time: gossip's last timers
		start := func(name, ip, advertise string) (*cluster.Node, *journal) {
			j := new(journal)
			log := slog.New(slog.NewTextHandler(j, nil))
			n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(log)), cluster.Config{
				Name: name, Network: network.Host(netip.MustParseAddr(ip)), Advertise: advertise, Insecure: true, Logger: log,
				Discovery: discovery.Static("10.1.0.1:7946", "10.1.0.3:7946"),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = n.Close() })
			return n, j
		}
		c, said := start("c", "10.1.0.3", "")
		events := c.Events(t.Context())
		a, _ := start("a", "10.1.0.1", "")
		b, _ := start("b", "10.1.0.2", "10.1.0.1:7946")
		timeout := time.After(time.Minute)
		for found := false; !found; {
			select {
			case e := <-events:
				conflict, ok := e.(cluster.Conflict)
				if found = ok; !found {
					continue
				}
				if text := conflict.Err.Error(); !errors.Is(conflict.Err, cluster.ErrAddress) || conflict.Member.Addr != a.Self().Addr ||
					!strings.Contains(text, a.Self().String()) || !strings.Contains(text, b.Self().String()) {
					t.Errorf("the event is about %v: %v", conflict.Member, conflict.Err)
				}
			case <-timeout:
				t.Fatal("no event within a minute")
			}
		}
		if said.count("ERROR", "two nodes that live advertise one address", "10.1.0.1:7946", "Config.Advertise") != 1 {
			t.Errorf("the cause is not logged:\n%s", said.text.String())
		}
	})
}

// A node that takes over a dead one's address is none of two.
func TestSuccessorIsNoConflict(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		events := c.Node(0).Events(t.Context())
		c.Kill(2)
		c.Restart(2)
		timeout := time.After(time.Minute)
		for {
			select {
			case e := <-events:
				if e, ok := e.(cluster.Conflict); ok {
					t.Errorf("a conflict: %v", e.Err)
				}
			case <-timeout:
				return
			}
		}
	})
}

// inTurn is a network on which one address leads to several hosts in turn, as a
// balancer does, or a translation of addresses that was set twice.
type inTurn struct {
	cluster.Network
	shared netip.Addr
	hosts  []netip.Addr
	turn   *atomic.Int64
}

func (n inTurn) Dial(ctx context.Context, local netip.Addr, to netip.AddrPort) (net.Conn, error) {
	if to.Addr() == n.shared {
		to = netip.AddrPortFrom(n.hosts[n.turn.Add(1)%int64(len(n.hosts))], to.Port())
	}
	return n.Network.Dial(ctx, local, to)
}

// Two nodes at one address that leads to either in turn are found out, too.
func TestTwoNodesInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := clustertest.NewNetwork(1)
		t.Cleanup(func() { time.Sleep(2 * time.Minute) }) // of virtual time: gossip's last timers
		shared := inTurn{shared: netip.MustParseAddr("10.1.0.9"), hosts: []netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2")}, turn: new(atomic.Int64)}
		start := func(ip, advertise string) (*cluster.Node, *journal) {
			j := new(journal)
			log := slog.New(slog.NewTextHandler(j, nil))
			host := shared
			host.Network = network.Host(netip.MustParseAddr(ip))
			n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(log)), cluster.Config{
				Network: host, Advertise: advertise, Insecure: true, Logger: log, Discovery: discovery.Static("10.1.0.3:7946", "10.1.0.9:7946"),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = n.Close() })
			return n, j
		}
		_, said := start("10.1.0.3", "")
		start("10.1.0.1", "10.1.0.9")
		start("10.1.0.2", "10.1.0.9")
		time.Sleep(time.Minute)
		if said.count("ERROR", "two nodes that live advertise one address", "10.1.0.9:7946") == 0 {
			t.Errorf("the cause is not logged:\n%s", said.text.String())
		}
	})
}
