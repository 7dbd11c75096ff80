package inspect_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/inspect"
	"github.com/runrig-go/runrig/discovery"
)

// BenchmarkNode makes snapshots of a node with many addresses; each looks them up anew.
func BenchmarkNode(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(n, " addresses"), func(b *testing.B) {
			node := benchNode(b)
			for k := range n {
				if _, err := node.EventBus().Consume(fmt.Sprint("a", k), bus.HandlerFunc(nothing)); err != nil {
					b.Fatal(err)
				}
			}
			i := inspect.Of(node)
			var spent time.Duration
			for b.Loop() {
				inspect.Forget(i)
				began := time.Now()
				if _, err := i.Node(inspect.Query{Addresses: n}); err != nil {
					b.Fatal(err)
				}
				spent += time.Since(began)
			}
			b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "µs/snapshot")
		})
	}
}

func benchNode(b *testing.B, peers ...string) *cluster.Node {
	b.Helper()
	n, err := cluster.Join(b.Context(), bus.New(bus.WithLogger(quiet)), cluster.Config{Bind: "127.0.0.1:0", Discovery: discovery.Static(peers...), Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = n.Close() })
	return n
}

// BenchmarkCluster asks 50 nodes of this process, of which each knows 500 addresses and
// tells of 100.
func BenchmarkCluster(b *testing.B) {
	const nodes = 50
	first := benchNode(b)
	asker := inspect.Of(first)
	for k := range nodes - 1 {
		n := benchNode(b, first.Self().Addr)
		inspect.Of(n)
		for a := range 10 {
			if _, err := n.EventBus().Consume(fmt.Sprint("a", k, ".", a), bus.HandlerFunc(nothing)); err != nil {
				b.Fatal(err)
			}
		}
	}
	for len(first.EventBus().Peers()) < nodes-1 {
		time.Sleep(time.Millisecond)
	}
	missing := 0
	for b.Loop() {
		c, err := asker.Cluster(b.Context(), inspect.Query{})
		if err != nil {
			b.Fatal(err)
		}
		missing += len(c.Missing)
	}
	b.ReportMetric(float64(missing)/float64(b.N), "missing/op")
}
