package bus_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
)

// everywhere runs a test as both does, and between two nodes of a whole cluster
// with a secret too, whose link is mutual TLS over a network that takes its time.
func everywhere(t *testing.T, test func(t *testing.T, p pair)) {
	both(t, test)
	t.Run("secured", func(t *testing.T) {
		t.Parallel()
		clustertest.Run(t, 2, func(t *testing.T, c *clustertest.Cluster) {
			test(t, pair{c.Node(0).Bus, c.Node(1).Bus, true})
		}, secured, clustertest.WithBus(func(int) []bus.Option {
			return []bus.Option{bus.WithDrainTimeout(2 * time.Second)}
		}))
	})
}

// secured gives all nodes the same secret, and the names that those of bustest
// have.
var secured = clustertest.WithConfig(func(node int, c *cluster.Config) {
	c.Name, c.Insecure = fmt.Sprint("n", node), false
	c.Secrets = cluster.NewSecrets("0123456789abcdef0123456789abcdef")
})

// The links of the cluster that everywhere makes are TLS: who has no secret gets
// none.
func TestEverywhereIsSecured(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 2, func(t *testing.T, c *clustertest.Cluster) {
		consume(t, c.Node(0).Bus, "a", nothing)
		stranger := bus.New(quiet)
		n, err := cluster.Join(t.Context(), stranger, cluster.Config{
			Name: "stranger", Bind: "10.0.9.9:7946", Network: c.Network().Host(netip.MustParseAddr("10.0.9.9")), Insecure: true,
			Discovery: discovery.Static(c.Node(0).Self().Addr), Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n.Close() }()
		time.Sleep(time.Minute)
		if len(stranger.Peers()) > 0 || len(c.Node(0).Bus.Peers()) != 1 || n.Stats().RefusedBy.Secret == 0 {
			t.Errorf("the stranger is linked with %v; it was refused %d times", stranger.Peers(), n.Stats().RefusedBy.Secret)
		}
	}, secured)
}
