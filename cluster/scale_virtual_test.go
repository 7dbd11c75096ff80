package cluster_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/cluster/inspect"
	"github.com/runrig-go/runrig/cluster/internal/long"
)

var scaleVirtual = flag.Int("scale.virtual", 30, "size of the cluster of TestScaleVirtual")

// A cluster of any size that one process can hold converges from a cold start, and
// replaces each of its nodes under load without a failed request or a lost message.
func TestScaleVirtual(t *testing.T) {
	long.Only(t, "many nodes take a while")
	synctest.Test(t, func(t *testing.T) {
		v := &virtual{T: t, c: clustertest.New(t, 0), size: *scaleVirtual, ledger: bustest.NewLedger()}
		began, cpu := time.Now(), cpuTime()
		v.c.StartMany(v.size)
		v.awaitMesh()
		t.Logf("%d nodes: full mesh after %v of virtual time, %v of CPU", v.size, time.Since(began), cpuTime()-cpu)
		v.memory()
		v.spell("idle")
		began = time.Now()
		v.start()
		t.Logf("one more: linked with all after %v", time.Since(began))
		v.routes()
		v.snapshot()
		v.roll()
	})
}

// virtual is a cluster that TestScaleVirtual measures.
type virtual struct {
	*testing.T
	c      *clustertest.Cluster
	size   int
	ledger *bustest.Ledger
	live   []int // indices, as of nodes that were replaced
}

// awaitMesh waits until each node that lives is linked with each other.
func (v *virtual) awaitMesh() {
	if v.live == nil {
		for i := range v.size {
			v.live = append(v.live, i)
		}
	}
	for _, i := range v.live {
		v.awaitLinks(i)
	}
}

// awaitLinks waits until a node is linked with all others.
func (v *virtual) awaitLinks(i int) {
	v.Helper()
	v.c.Await(fmt.Sprintf("node %d is linked with all", i), time.Minute, func() bool {
		return len(v.c.Node(i).Bus.Peers()) == len(v.live)-1
	})
}

// start starts one more node.
func (v *virtual) start() (index int) {
	index = v.c.Start()
	v.live = append(v.live, index)
	v.awaitLinks(index)
	return index
}

// memory tells what the process holds.
func (v *virtual) memory() {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	links := v.size * (v.size - 1) / 2
	v.Logf("%d KiB of heap and stacks for each link, both ends, all that nodes keep counted in", int(m.HeapAlloc+m.StackInuse)/links>>10)
}

// spell tells what some seconds take.
func (v *virtual) spell(what string) {
	const spell = 10 * time.Second
	cpu, bytes := cpuTime(), v.bytes()
	time.Sleep(spell)
	links := float64(v.size * (v.size - 1) / 2)
	v.Logf("%s: %.0f bytes a second and link, %v of CPU for %v", what, float64(v.bytes()-bytes)/links/spell.Seconds(), cpuTime()-cpu, spell)
}

func (v *virtual) bytes() (n uint64) {
	for _, i := range v.live {
		for _, l := range v.c.Node(i).Bus.Links() {
			n += l.BytesOut
		}
	}
	return n
}

// routes tells what changes of routes take, all nodes told of each.
func (v *virtual) routes() {
	const changes = 100
	cpu, began := cpuTime(), time.Now()
	eb := v.c.Node(v.live[0]).Bus
	var all []*bus.Consumer
	for k := range changes {
		cn, err := eb.Consume(fmt.Sprint("route ", k), bus.HandlerFunc(func(context.Context, *bus.Message) error { return nil }))
		if err != nil {
			v.Fatal(err)
		}
		all = append(all, cn)
	}
	for _, cn := range all {
		if err := cn.Known(v.Context()); err != nil {
			v.Fatal(err)
		}
	}
	v.Logf("%d routes known everywhere after %v, %v of CPU for each and node", changes, time.Since(began),
		(cpuTime()-cpu)/time.Duration(changes*len(v.live)))
	for _, cn := range all {
		_ = cn.Close()
	}
}

// snapshot tells what it takes to look at the whole cluster from one node.
func (v *virtual) snapshot() {
	for _, i := range v.live {
		inspect.Of(v.c.Node(i).Node)
	}
	asker := inspect.Of(v.c.Node(v.live[0]).Node)
	var c inspect.Cluster
	var cpu, took time.Duration
	v.c.Await("all tell of themselves", time.Minute, func() (all bool) {
		before, began := cpuTime(), time.Now()
		var err error
		if c, err = asker.Cluster(v.Context(), inspect.Query{}); err != nil {
			v.Fatal(err)
		}
		cpu, took = cpuTime()-before, time.Since(began)
		return len(c.Nodes) == len(v.live)
	})
	b, err := json.Marshal(c)
	if err != nil {
		v.Fatal(err)
	}
	v.Logf("a snapshot of all %d nodes: %v, %v of CPU of all, %d KiB of JSON", len(c.Nodes), took, cpu, len(b)>>10)
}

// roll replaces each node but the first, some at a time, while that sends and requests.
func (v *virtual) roll() {
	first := v.c.Node(v.live[0]).Bus
	for _, i := range v.live[1:] {
		v.consume(i)
	}
	var wg sync.WaitGroup
	var failed, calls atomic.Int64
	stop := make(chan struct{})
	for k := range 20 {
		wg.Go(func() { v.send(first, fmt.Sprint("sender ", k), k%2 == 0, stop, &calls, &failed) })
	}
	cpu, began := cpuTime(), time.Now()
	old := v.live[1:]
	v.live = v.live[:1:1]
	batch := max(10, v.size/10)
	for len(old) > 0 {
		leaving := old[:min(batch, len(old))]
		old = old[len(leaving):]
		var closes sync.WaitGroup
		for _, i := range leaving {
			closes.Go(func() {
				if err := v.c.Node(i).Close(); err != nil {
					v.Errorf("node %d: %v", i, err)
				}
			})
		}
		closes.Wait()
		for range leaving {
			i := v.c.Start()
			v.consume(i)
			v.live = append(v.live, i)
		}
	}
	took := time.Since(began)
	time.Sleep(10 * time.Second)
	v.awaitMesh()
	close(stop)
	wg.Wait()
	lost := v.ledger.Lost()
	v.Logf("all replaced within %v, %v of CPU: %d calls, %d failed, %d lost", took, cpuTime()-cpu, calls.Load(), failed.Load(), len(lost))
	for _, text := range v.ledger.Broken() {
		v.Error(text)
	}
	if failed.Load() > 0 || len(lost) > 0 {
		v.Errorf("%d calls failed, %d messages were lost", failed.Load(), len(lost))
	}
}

func (v *virtual) consume(i int) {
	_, err := v.c.Node(i).Bus.Consume("work", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
		var k bustest.Mark
		if err := m.Decode(&k); err != nil {
			return err
		}
		v.ledger.Handle(fmt.Sprint("node ", i), k, m)
		if m.WantsReply() {
			return m.Reply(context.Background(), k)
		}
		return nil
	}))
	if err != nil {
		v.Fatal(err)
	}
}

func (v *virtual) send(eb *bus.EventBus, name string, asks bool, stop <-chan struct{}, calls, failed *atomic.Int64) {
	const limit = 15 * time.Second
	for seq := uint64(1); ; seq++ {
		select {
		case <-stop:
			return
		case <-time.After(50 * time.Millisecond):
		}
		k := bustest.Mark{Sender: name, Seq: seq}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		deadline := time.Now().Add(limit)
		var err error
		if asks {
			var got bustest.Mark
			if got, err = bus.Request[bustest.Mark](ctx, eb, "work", k); err == nil {
				v.ledger.Answer(k, got)
			}
		} else if err = eb.Send(ctx, "work", k); err == nil {
			v.ledger.Accept(k)
		}
		cancel()
		v.ledger.End(k, deadline, 100*time.Millisecond, err)
		if calls.Add(1); err != nil {
			failed.Add(1)
			v.Logf("%s, call %d: %v", name, seq, err)
		}
	}
}
