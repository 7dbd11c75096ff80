package cluster_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
)

// consume registers a consumer at "work" on a node that answers with the node's
// name after a millisecond, and waits until all know it.
func consume(t *testing.T, n *clustertest.Node) {
	t.Helper()
	c, err := n.Bus.Consume("work", bus.Respond(func(ctx context.Context, _ int) (string, error) {
		time.Sleep(time.Millisecond) // of virtual time
		return n.Self().Name, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Known(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// load sends requests from a node, one each two milliseconds, until stop, which
// waits for the last answer.
type load struct {
	by     map[string]int // who answered how many
	errs   []error
	mu     sync.Mutex
	wg     sync.WaitGroup
	ending chan struct{}
}

func newLoad(t *testing.T, n *clustertest.Node) *load {
	l := &load{by: map[string]int{}, ending: make(chan struct{})}
	l.wg.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-l.ending:
				return
			case <-tick.C:
				l.wg.Go(func() { l.one(t, n, i) })
			}
		}
	})
	return l
}

func (l *load) one(t *testing.T, n *clustertest.Node, i int) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	who, err := bus.Request[string](ctx, n.Bus, "work", i)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.errs = append(l.errs, err)
		return
	}
	l.by[who]++
}

func (l *load) stop() (by map[string]int, errs []error) {
	close(l.ending)
	l.wg.Wait()
	return l.by, l.errs
}

// A node that leaves under load loses nothing: not one request fails.
func TestLeaveUnderLoad(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 4, func(t *testing.T, c *clustertest.Cluster) {
		for i := 1; i < 4; i++ {
			consume(t, c.Node(i))
		}
		l := newLoad(t, c.Node(0))
		time.Sleep(time.Second)
		began := time.Now()
		if err := c.Node(2).Close(); err != nil {
			t.Error(err)
		}
		t.Logf("left within %v", time.Since(began))
		time.Sleep(time.Second)
		at := c.Start()
		consume(t, c.Node(at))
		time.Sleep(time.Second)
		by, errs := l.stop()
		t.Log(by)
		if len(errs) > 0 {
			t.Errorf("%d requests failed, the first: %v", len(errs), errs[0])
		}
		for i := range 5 {
			if name := c.Node(i).Self().Name; i > 0 && by[name] < 100 {
				t.Errorf("%s answered %d requests", name, by[name])
			}
		}
	}, secured())
}

// When a node is killed under load, the requests it had fail typed and at once,
// and no other does.
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 4, func(t *testing.T, c *clustertest.Cluster) {
		for i := 1; i < 4; i++ {
			consume(t, c.Node(i))
		}
		l := newLoad(t, c.Node(0))
		time.Sleep(time.Second)
		c.Kill(2)
		time.Sleep(100 * time.Millisecond)
		l.mu.Lock()
		failed := len(l.errs)
		l.mu.Unlock()
		time.Sleep(2 * time.Second)
		by, errs := l.stop()
		t.Log(by, len(errs))
		if len(errs) != failed {
			t.Errorf("%d requests failed later than 100 ms after the kill: %v", len(errs)-failed, errs[len(errs)-1])
		}
		for _, err := range errs {
			if !errors.Is(err, bus.ErrLinkLost) {
				t.Errorf("a request failed with %v", err)
			}
		}
	})
}

// What is published reaches all nodes, over links and over gossip.
func TestPublish(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 5, func(t *testing.T, c *clustertest.Cluster) {
		var got [5][3]atomic.Int32 // by node and way
		for i := range 5 {
			consumer, err := c.Node(i).Bus.Consume("news", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
				got[i][m.Via()].Add(1)
				return nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			if err := consumer.Known(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			if err := c.Node(1).Bus.Publish(t.Context(), "news", "over links"); err != nil {
				t.Error(err)
			}
			if err := c.Node(1).Bus.Publish(t.Context(), "news", "over gossip", bus.Gossip()); err != nil {
				t.Error(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Second)
		for i := range 5 {
			local, link, gossip := got[i][bus.ViaLocal].Load(), got[i][bus.ViaLink].Load(), got[i][bus.ViaGossip].Load()
			t.Logf("node %d: local %d, link %d, gossip %d", i, local, link, gossip)
			if local+link+gossip != 20 || (i == 1) != (link == 0) {
				t.Errorf("node %d got local %d, link %d, gossip %d; want 20 in all", i, local, link, gossip)
			}
		}
	}, secured())
}

// The gossip lane says what it cannot take.
func TestGossipLimits(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 2, func(t *testing.T, c *clustertest.Cluster) {
		eb := c.Node(0).Bus
		if err := eb.Publish(t.Context(), "news", make([]byte, 1021), bus.Gossip()); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("1025 bytes: %v, want %v", err, bus.ErrTooLarge)
		}
		var err error
		for i := 0; i < 100 && err == nil; i++ {
			err = eb.Publish(t.Context(), "news", make([]byte, 1020), bus.Gossip())
		}
		if !errors.Is(err, bus.ErrBusy) {
			t.Errorf("100 at once: %v, want %v", err, bus.ErrBusy)
		}
		time.Sleep(time.Second)
		if err := eb.Publish(t.Context(), "news", make([]byte, 1020), bus.Gossip()); err != nil {
			t.Errorf("a second later: %v", err)
		}
	})
}

// The secret is changed by three rolling deployments, under load: not one request
// fails, and afterwards the old secret opens nothing.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	const next = "the next secret, of thirty-two b"
	steps := [][]string{{secret}, {secret, next}, {next, secret}, {next}}
	const size = 3
	clustertest.Run(t, size, func(t *testing.T, c *clustertest.Cluster) {
		for i := range size {
			consume(t, c.Node(i))
		}
		for range size * (len(steps) - 1) {
			at := c.Start()
			consume(t, c.Node(at))
			l := newLoad(t, c.Node(at))
			time.Sleep(50 * time.Millisecond)
			if err := c.Node(at - size).Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(50 * time.Millisecond)
			by, errs := l.stop()
			if len(errs) > 0 || len(by) < size {
				t.Errorf("node %d: answers %v, %d errors %v", at, by, len(errs), errs)
			}
			c.AwaitLinked()
		}
	}, clustertest.WithConfig(func(i int, c *cluster.Config) {
		c.Insecure = false
		c.Secrets = cluster.NewSecrets(steps[i/size]...)
	}))
}
