package clustertest_test

import (
	"context"
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

// A test of a program's own: a partition, in which each side goes on with what it
// has, takes a minute of virtual time.
func ExampleRun() {
	_ = func(t *testing.T) { // TestPartition
		clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
			who := bus.Respond(func(context.Context, string) (string, error) { return c.Node(0).Self().Name, nil })
			consumer, err := c.Node(0).Bus.Consume("who", who)
			if err != nil {
				t.Fatal(err)
			}
			_ = consumer.Known(t.Context())

			c.Partition([]int{0, 1}, []int{2})
			time.Sleep(time.Minute)
			if _, err := bus.Request[string](t.Context(), c.Node(2).Bus, "who", ""); err == nil {
				t.Error("a request crossed the partition")
			}
			c.Heal()
			c.AwaitLinked()
			if _, err := bus.Request[string](t.Context(), c.Node(2).Bus, "who", ""); err != nil {
				t.Error(err)
			}
		})
	}
}

// Nodes of a Network can be started in ways of one's own, outside of a bubble too.
func ExampleNetwork() {
	network := clustertest.NewNetwork(1)
	quiet := slog.New(slog.DiscardHandler)
	var peers []string
	for _, ip := range []string{"10.0.0.1", "10.0.0.2"} {
		eb := bus.New(bus.WithLogger(quiet))
		n, err := cluster.Join(context.Background(), eb, cluster.Config{
			Name: "node", Network: network.Host(netip.MustParseAddr(ip)), Insecure: true,
			Discovery: discovery.Static(peers...), Logger: quiet,
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer func() { _ = n.Close() }()
		peers = append(peers, n.Self().Addr)
		fmt.Println(n.Self().Addr, len(n.Members()))
	}
	// Output:
	// 10.0.0.1:7946 1
	// 10.0.0.2:7946 2
}
