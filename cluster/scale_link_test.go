package cluster_test

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
)

// BenchmarkIdleLink tells what an idle link takes, both ends of it, on real sockets with a
// secret: by what two clusters of different size differ for each pair of nodes. All is in
// it that the nodes, and gossip, keep of each other.
func BenchmarkIdleLink(b *testing.B) {
	for b.Loop() {
		const few, many = 10, 25
		small, large := takeOf(b, few), takeOf(b, many)
		share := float64(many) / few // of what a node takes by itself, which falls out
		links := float64(many*(many-1)/2) - share*few*(few-1)/2
		b.ReportMetric((float64(large.heap)-share*float64(small.heap))/links, "B/link")
		b.ReportMetric((float64(large.goroutines)-share*float64(small.goroutines))/links, "goroutines/link")
	}
}

type take struct{ heap, goroutines int }

// takeOf returns what a cluster takes.
func takeOf(b *testing.B, size int) (t take) {
	b.Helper()
	before := taken()
	var peers []string
	for i := range size {
		peers = append(peers, fmt.Sprintf("127.22.0.%d:7946", i+1))
	}
	nodes := make([]*cluster.Node, size)
	var wg sync.WaitGroup
	for i, bind := range peers {
		wg.Go(func() {
			n, err := cluster.Join(b.Context(), bus.New(), cluster.Config{
				Name: fmt.Sprint("n", i), Bind: bind, Discovery: discovery.Static(peers...), Secrets: cluster.NewSecrets(secret),
			})
			if err != nil {
				b.Error(err)
			}
			nodes[i] = n
		})
	}
	wg.Wait()
	for _, n := range nodes {
		for linked := 0; linked < size-1; <-time.After(10 * time.Millisecond) {
			linked = 0
			for _, m := range n.Members() {
				if m.Linked() {
					linked++
				}
			}
		}
	}
	<-time.After(10 * time.Second)
	after := taken()
	for _, n := range nodes {
		wg.Go(func() { _ = n.Close() })
	}
	wg.Wait()
	return take{after.heap - before.heap, after.goroutines - before.goroutines}
}

func taken() take {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return take{int(m.HeapAlloc + m.StackInuse), runtime.NumGoroutine()}
}
