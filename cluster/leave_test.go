package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/verticle"
)

// Bounds of Close.
const (
	leaveSoon = 2 * time.Second        // if nothing is slow
	leaveSlow = (20 + 3) * time.Second // the drain time-out, and what comes after it
)

// What handlers take: so little that they wait for messages, or so much that
// messages wait for them.
const (
	little = 200 * time.Microsecond
	much   = time.Millisecond
)

// traffic sends and requests from some nodes to consumers on others, and judges.
type traffic struct {
	t      *testing.T
	c      *clustertest.Cluster
	takes  time.Duration // what a handler takes, times 0 to 3
	ledger *bustest.Ledger
	stop   chan struct{}
	wg     sync.WaitGroup
	calls  atomic.Int64
	failed atomic.Int64
	mu     sync.Mutex
	first  error
}

// newTraffic registers a consumer on each of some nodes, and sends from others.
func newTraffic(t *testing.T, c *clustertest.Cluster, from, to []int, takes time.Duration) *traffic {
	tr := &traffic{t: t, c: c, takes: takes, ledger: bustest.NewLedger(), stop: make(chan struct{})}
	for _, i := range to {
		tr.consume(i)
	}
	for _, i := range from {
		for k := range 10 {
			tr.wg.Go(func() { tr.sender(c.Node(i).Bus, fmt.Sprint(i, " ", k), k%2 == 0) })
		}
	}
	return tr
}

func (tr *traffic) consume(i int) {
	tr.t.Helper()
	cn, err := tr.c.Node(i).Bus.Consume("work", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
		var k bustest.Mark
		if err := m.Decode(&k); err != nil {
			return err
		}
		tr.ledger.Handle(fmt.Sprint("node ", i), k, m)
		time.Sleep(time.Duration(k.Seq%4) * tr.takes)
		if m.WantsReply() {
			return m.Reply(context.Background(), k)
		}
		return nil
	}))
	if err != nil {
		tr.t.Fatal(err)
	}
	if err := cn.Known(tr.t.Context()); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *traffic) sender(eb *bus.EventBus, name string, asks bool) {
	const limit = 15 * time.Second
	for seq := uint64(1); ; seq++ {
		select {
		case <-tr.stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		k := bustest.Mark{Sender: name, Seq: seq}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		deadline := time.Now().Add(limit)
		var err error
		if asks {
			var got bustest.Mark
			if got, err = bus.Request[bustest.Mark](ctx, eb, "work", k); err == nil {
				tr.ledger.Answer(k, got)
			}
		} else if err = eb.Send(ctx, "work", k); err == nil {
			tr.ledger.Accept(k)
		}
		cancel()
		tr.ledger.End(k, deadline, 100*time.Millisecond, err)
		tr.calls.Add(1)
		if errors.Is(err, bus.ErrClosed) {
			return
		}
		if err != nil {
			tr.failed.Add(1)
			tr.mu.Lock()
			tr.first = errors.Join(tr.first, err)
			tr.mu.Unlock()
			return
		}
	}
}

// rest stops the traffic, waits until all that was sent is accounted for, and
// checks what holds in any case.
func (tr *traffic) rest() {
	tr.t.Helper()
	close(tr.stop)
	tr.wg.Wait()
	for i := range tr.c.Len() {
		tr.c.Await(fmt.Sprintf("the accounts of node %d add up", i), 10*time.Second, func() bool {
			s := tr.c.Node(i).Bus.Stats()
			return s.Sent == s.Settled+s.Bounced+s.Unknown
		})
	}
	for _, text := range tr.ledger.Broken() {
		tr.t.Error(text)
	}
}

// end also checks that nothing has failed and nothing is lost.
func (tr *traffic) end() {
	tr.t.Helper()
	tr.rest()
	if n := tr.failed.Load(); n > 0 {
		tr.t.Errorf("%d of %d calls failed: %v", n, tr.calls.Load(), tr.first)
	}
	if lost := tr.ledger.Lost(); len(lost) > 0 {
		tr.t.Errorf("%d of %d messages lost, the first %+v", len(lost), tr.calls.Load(), lost[0])
	}
}

// closes closes nodes at the same moment, and returns how long the slowest took.
func closes(t *testing.T, c *clustertest.Cluster, limit time.Duration, nodes ...int) (slowest time.Duration) {
	t.Helper()
	took, errs := make([]time.Duration, len(nodes)), make([]error, len(nodes))
	var wg sync.WaitGroup
	for k, i := range nodes {
		n := c.Node(i)
		wg.Go(func() {
			began := time.Now()
			errs[k] = n.Close()
			took[k] = time.Since(began)
		})
	}
	wg.Wait()
	for k, i := range nodes {
		slowest = max(slowest, took[k])
		if errs[k] != nil || took[k] > limit {
			t.Errorf("node %d left after %v, %v; want %v, nil", i, took[k], errs[k], limit)
		}
	}
	t.Logf("left within %v", slowest)
	return slowest
}

// A node leaves gracefully whatever else is going on.
func TestLeaveRaces(t *testing.T) {
	t.Parallel()
	for name, race := range map[string]func(*testing.T, *clustertest.Cluster){
		"on two nodes at once":             leaveTwo,
		"on all":                           leaveAll,
		"twice, and by the bus":            leaveTwice,
		"while 100 publish":                leaveWhilePublishing,
		"in a handler":                     leaveInHandler,
		"with a handler that never ends":   leaveStuck,
		"with a peer that is stopped":      leaveStopped,
		"with a peer that is killed":       leaveKilled,
		"while another joins":              leaveWhileJoining,
		"during join":                      leaveDuringJoin,
		"during deploy":                    leaveDuringDeploy,
		"one after the other, all but one": leaveChain,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clustertest.Run(t, 5, race, secured())
		})
	}
}

func leaveTwo(t *testing.T, c *clustertest.Cluster) {
	tr := newTraffic(t, c, []int{0, 1}, []int{1, 2, 3, 4}, much)
	time.Sleep(time.Second)
	closes(t, c, leaveSlow, 2, 3)
	time.Sleep(time.Second)
	tr.end()
	c.AwaitLinked(0, 1, 4)
}

// Each node's own calls end, in a reply or an error, and what nobody was left for is
// told.
func leaveAll(t *testing.T, c *clustertest.Cluster) {
	all := []int{0, 1, 2, 3, 4}
	tr := newTraffic(t, c, all, all, little)
	time.Sleep(time.Second)
	closes(t, c, leaveSlow, all...)
	tr.rest()
	var dead uint64
	for _, i := range all {
		dead += c.Node(i).Bus.Stats().DeadLetters
	}
	lost := uint64(len(tr.ledger.Lost()))
	if lost > dead {
		t.Errorf("%d messages lost, %d of them told", lost, dead)
	}
	t.Logf("%d calls, %d failed as nobody was left, %d lost", tr.calls.Load(), tr.failed.Load(), lost)
}

func leaveTwice(t *testing.T, c *clustertest.Cluster) {
	tr := newTraffic(t, c, []int{0}, []int{1, 2}, little)
	time.Sleep(100 * time.Millisecond)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * time.Millisecond)
			if i%2 == 0 {
				_ = c.Node(2).Bus.Close()
			} else {
				_ = c.Node(2).Close()
			}
			select {
			case <-c.Node(2).Done():
			default:
				if i%2 == 1 {
					t.Error("Close of the node returned before it was down")
				}
			}
		})
	}
	wg.Wait()
	closes(t, c, leaveSoon, 2)
	tr.end()
	c.AwaitLinked(0, 1, 3, 4)
}

// What 100 goroutines of the leaving node have sent gets there, and all of them
// are told that the bus is closed.
func leaveWhilePublishing(t *testing.T, c *clustertest.Cluster) {
	tr := newTraffic(t, c, nil, []int{0, 1, 2, 3}, much)
	var heard atomic.Int64
	for i := range 2 {
		cn, err := c.Node(i).Bus.Consume("news", bus.HandlerFunc(func(context.Context, *bus.Message) error { heard.Add(1); return nil }))
		if err != nil {
			t.Fatal(err)
		}
		if err := cn.Known(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for g := range 100 {
		tr.wg.Go(func() { tr.sender(c.Node(3).Bus, fmt.Sprint("g", g), g%2 == 0) })
		tr.wg.Go(func() {
			for {
				if err := c.Node(3).Bus.Publish(context.Background(), "news", g); err != nil {
					if !errors.Is(err, bus.ErrClosed) {
						t.Error(err)
					}
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	closes(t, c, leaveSlow, 3)
	tr.end()
	if heard.Load() == 0 {
		t.Error("no publish was heard")
	}
}

// A handler that closes its own node waits for itself: that ends with the drain
// time, and not before.
func leaveInHandler(t *testing.T, c *clustertest.Cluster) {
	closed := make(chan error, 1)
	n := c.Node(2)
	cn, err := n.Bus.Consume("end", bus.HandlerFunc(func(context.Context, *bus.Message) error {
		closed <- n.Close()
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := cn.Known(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr := newTraffic(t, c, []int{0}, []int{1, 2}, little)
	if err := c.Node(0).Bus.Send(t.Context(), "end", nil); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = <-closed
	if took := time.Since(began); err == nil || took > leaveSlow {
		t.Errorf("closed within %v: %v; want an error about the drain time, within %v", took, err, leaveSlow)
	}
	t.Logf("after %v: %v", time.Since(began), err)
	tr.end()
	c.AwaitLinked(0, 1, 3, 4)
}

func leaveStuck(t *testing.T, c *clustertest.Cluster) {
	release, told := make(chan struct{}), make(chan struct{})
	n := c.Node(2)
	cn, err := n.Bus.Consume("stuck", bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error {
		<-ctx.Done()
		close(told)
		<-release // never, as far as the node can know
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := cn.Known(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr := newTraffic(t, c, []int{0}, []int{1, 2}, little)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := c.Node(0).Bus.Send(ctx, "stuck", nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	err = n.Close()
	if took := time.Since(began); err == nil || took > leaveSlow {
		t.Errorf("closed within %v: %v; want an error about the drain time, within %v", took, err, leaveSlow)
	}
	<-told
	close(release)
	tr.end()
	c.AwaitLinked(0, 1, 3, 4)
	if s := c.Node(0).Bus.Stats(); s.Unknown != 1 {
		t.Errorf("%d unknown at the sender, want 1", s.Unknown)
	}
}

// A peer that does not answer holds up a leave until it counts as dead.
func leaveStopped(t *testing.T, c *clustertest.Cluster) {
	tr := newTraffic(t, c, []int{0}, []int{1, 2}, little)
	time.Sleep(100 * time.Millisecond)
	c.Silence(4)
	closes(t, c, 8*time.Second, 2)
	tr.end()
	c.Heal()
	c.Await("the others are one cluster", 15*time.Second, func() bool { return c.Linked(0, 1, 3, 4) })
}

func leaveKilled(t *testing.T, c *clustertest.Cluster) {
	tr := newTraffic(t, c, []int{0}, []int{1, 2}, little)
	time.Sleep(100 * time.Millisecond)
	var wg sync.WaitGroup
	wg.Go(func() { closes(t, c, leaveSoon, 2) })
	time.Sleep(time.Millisecond)
	c.Kill(4)
	wg.Wait()
	tr.end()
	c.AwaitLinked(0, 1, 3)
}

func leaveWhileJoining(t *testing.T, c *clustertest.Cluster) {
	tr := newTraffic(t, c, []int{0}, []int{1, 2}, little)
	time.Sleep(100 * time.Millisecond)
	n, closed := c.Node(2), make(chan error)
	go func() { closed <- n.Close() }()
	at := c.Start()
	tr.consume(at)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	time.Sleep(100 * time.Millisecond)
	tr.end()
	c.AwaitLinked(0, 1, 3, 4, at)
}

// The bus is closed at any moment of Join, which has the node closed.
func leaveDuringJoin(t *testing.T, c *clustertest.Cluster) {
	states := map[string]int{}
	for i := range 40 {
		ip := netip.AddrFrom4([4]byte{10, 0, 9, byte(i + 1)})
		eb := bus.New(bus.WithLogger(nil))
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 500 * time.Microsecond)
			if err := eb.Close(); err != nil {
				t.Error(err)
			}
		})
		n, err := cluster.Join(t.Context(), eb, cluster.Config{
			Name: "brief", Bind: netip.AddrPortFrom(ip, cluster.DefaultPort).String(), Network: c.Network().Host(ip),
			Secrets: cluster.NewSecrets(secret), Discovery: discovery.Static(c.Node(0).Self().Addr), Logger: logger(),
		})
		wg.Wait()
		if err != nil {
			states["no node: "+err.Error()]++
			continue
		}
		if err := n.Close(); err != nil {
			t.Errorf("closed after %d/2 ms: %v", i, err)
		}
		<-n.Done()
		states[n.State().String()]++
	}
	t.Log(states)
	c.AwaitLinked(0, 1, 2, 3, 4)
}

// The node is closed at any moment of a deployment.
func leaveDuringDeploy(t *testing.T, c *clustertest.Cluster) {
	tr := newTraffic(t, c, []int{0}, []int{1, 2, 3, 4}, little)
	outcome := map[string]int{}
	var mu sync.Mutex
	for _, i := range []int{2, 3, 4} {
		var wg sync.WaitGroup
		for k := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(k) * time.Millisecond)
				d, err := verticle.Deploy(t.Context(), c.Node(i).Bus, verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
					time.Sleep(5 * time.Millisecond)
					_, err := d.Consume("other", bus.HandlerFunc(func(context.Context, *bus.Message) error { return nil }))
					return err
				}), verticle.WithLogger(logger()))
				if err == nil {
					<-d.Done()
				} else if !errors.Is(err, bus.ErrClosed) {
					t.Errorf("Deploy: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				outcome[fmt.Sprint("deployed: ", err == nil)]++
			})
		}
		time.Sleep(15 * time.Millisecond)
		closes(t, c, leaveSoon, i)
		wg.Wait()
	}
	t.Log(outcome)
	tr.end()
	c.AwaitLinked(0, 1)
}

func leaveChain(t *testing.T, c *clustertest.Cluster) {
	tr := newTraffic(t, c, []int{0}, []int{0, 1, 2, 3, 4}, little)
	for i := 1; i < 5; i++ {
		time.Sleep(50 * time.Millisecond)
		closes(t, c, leaveSoon, i)
	}
	tr.end()
	c.AwaitLinked(0)
}
