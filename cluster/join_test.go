package cluster_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
)

// busy is the network of a machine that has much to do: what is dialled waits
// until opens.
type busy struct {
	cluster.Network
	opens func(to netip.Addr) time.Time
}

func (b busy) Dial(ctx context.Context, local netip.Addr, to netip.AddrPort) (net.Conn, error) {
	select {
	case <-time.After(time.Until(b.opens(to.Addr()))):
		return b.Network.Dial(ctx, local, to)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// turn says when two nodes, other than node 0, are linked where each of six is linked
// with one other at a time, in five turns.
func turn(i, j int) int {
	switch {
	case i == 6:
		return 2 * j % 5
	case j == 6:
		return 2 * i % 5
	}
	return (i + j) % 5
}

// When many nodes start at once on a busy machine their links come up one after the
// other, here those with the first node at once. Join waits for them as long as they do, and nobody warns of those that are
// still to come.
func TestStartOnBusyMachine(t *testing.T) {
	t.Parallel()
	const nodes, step = 7, 1500 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		j := new(journal)
		began := time.Now()
		c := clustertest.New(t, 0, clustertest.WithConfig(func(i int, conf *cluster.Config) {
			conf.Logger = slog.New(slog.NewTextHandler(j, nil))
			conf.Secrets, conf.Insecure = cluster.NewSecrets(secret), false
			conf.Network = busy{conf.Network, func(to netip.Addr) time.Time {
				other := int(to.As4()[3]) - 1
				if i == 0 || other == 0 {
					return began
				}
				return began.Add(step * time.Duration(1+turn(i, other)))
			}}
		}))
		c.StartMany(nodes)
		for i := range nodes {
			if got := linked(c.Node(i).Node); got != nodes-1 {
				t.Errorf("Join of node %d returned when it was linked with %d", i, got)
			}
		}
		if took := time.Since(began); took < 5*step || took > 5*step+time.Second {
			t.Errorf("Join took %v", took)
		}
		time.Sleep(time.Minute)
		if j.count("level=WARN") > 0 || j.count("state=degraded") > 0 {
			t.Errorf("a healthy start warns:\n%s", j.text.String())
		}
	})
}

// Others that start some seconds later are not missed.
func TestOthersStartLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, j, network := alone(t, discovery.Static("10.1.0.1:7946", "10.1.0.2:7946"))
		network.Host(netip.MustParseAddr("10.1.0.2"))
		time.Sleep(4 * time.Second)
		second, err := cluster.Join(t.Context(), bus.New(), cluster.Config{
			Network: network.Host(netip.MustParseAddr("10.1.0.2")), Insecure: true, Logger: slog.New(slog.DiscardHandler),
			Discovery: discovery.Static("10.1.0.1:7946"),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = second.Close() }()
		time.Sleep(time.Minute)
		if linked(first) != 1 || j.count("level=WARN") > j.count("node has no secret") {
			t.Errorf("linked with %d:\n%s", linked(first), j.text.String())
		}
	})
}
