package clustertest

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
)

// port is where all nodes listen.
const port = cluster.DefaultPort

// ghostTime is how long goroutines of the gossip library may go on after the end
// of a node; a bubble needs them to end.
const ghostTime = 2 * time.Minute

// A Node is a node of a [Cluster], with its bus.
type Node struct {
	*cluster.Node
	Bus *bus.EventBus
	IP  netip.Addr

	killed bool
}

// A Cluster is a cluster of whole nodes on one network in memory. Nodes are
// named by their index, in the order in which they were started. Its methods
// belong to the test's goroutine.
type Cluster struct {
	t    testing.TB
	net  *Network
	opts options

	nodes []*Node
	wg    sync.WaitGroup // closes of nodes

	mu    sync.Mutex
	known []string // what discovery tells
}

type options struct {
	seed   uint64
	config func(int, *cluster.Config)
	bus    func(int) []bus.Option
}

// Option changes how New makes a cluster.
type Option interface{ apply(*options) }

type optionFunc func(*options)

func (f optionFunc) apply(o *options) { f(o) }

// WithSeed sets the seed of the network's delays and losses; the default is 1.
// The goroutines' order is the scheduler's all the same.
func WithSeed(seed uint64) Option { return optionFunc(func(o *options) { o.seed = seed }) }

// WithConfig lets f change the Config of each node before it joins. Network,
// Bind and Discovery are set already.
func WithConfig(f func(node int, c *cluster.Config)) Option {
	return optionFunc(func(o *options) { o.config = f })
}

// WithBus sets options of each node's bus.
func WithBus(f func(node int) []bus.Option) Option {
	return optionFunc(func(o *options) { o.bus = f })
}

// Run runs f with a cluster of n nodes in virtual time, in a bubble of package
// testing/synctest: what f waits for with package time, contexts or
// [Cluster.Await] takes no real time. See [New].
func Run(t *testing.T, n int, f func(t *testing.T, c *Cluster), opts ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, New(t, n, opts...)) })
}

// New returns a cluster of n nodes that are all linked with each other; the test
// fails if they are not within ten seconds. They log nothing unless WithConfig
// sets a Logger; it must not be bound to the test, since gossip may log for a
// while after the end. All is closed at the end of the test.
//
// Called in a bubble of testing/synctest the cluster lives in virtual time,
// called outside it lives in real time.
func New(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	c := &Cluster{t: t, opts: options{seed: 1}}
	for _, o := range opts {
		o.apply(&c.opts)
	}
	c.net = NewNetwork(c.opts.seed)
	t.Cleanup(c.close)
	for range n {
		c.Start()
	}
	c.AwaitLinked()
	return c
}

// Network returns the network between the nodes, for faults that the Cluster has
// no method for.
func (c *Cluster) Network() *Network { return c.net }

// Node returns a node. It panics if there is none of that index.
func (c *Cluster) Node(i int) *Node { return c.nodes[i] }

// Len returns how many nodes have been started.
func (c *Cluster) Len() int { return len(c.nodes) }

// address is the IP address of the i-th node: 10.0.0.1 and so on.
func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(i%250 + 1)})
}

// Start adds a node at a new address, which finds the others by discovery, and
// returns its index when Join has returned.
func (c *Cluster) Start() int {
	c.t.Helper()
	return c.start(address(len(c.nodes)))
}

// Restart starts a node anew at the address of one that has ended,
// with a new boot id, and returns the index of the new one.
func (c *Cluster) Restart(i int) int {
	c.t.Helper()
	return c.start(c.nodes[i].IP)
}

// StartMany adds n nodes at new addresses, all at the same moment, and returns
// when the Joins of all have returned.
func (c *Cluster) StartMany(n int) {
	c.t.Helper()
	var joins []func() error
	for range n {
		_, join := c.prepare(address(len(c.nodes)))
		joins = append(joins, join)
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i, join := range joins {
		wg.Go(func() { errs[i] = join() })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *Cluster) start(ip netip.Addr) int {
	c.t.Helper()
	i, join := c.prepare(ip)
	if err := join(); err != nil {
		c.t.Fatal(err)
	}
	return i
}

// prepare adds a node that join starts.
func (c *Cluster) prepare(ip netip.Addr) (index int, join func() error) {
	i := len(c.nodes)
	bind := netip.AddrPortFrom(ip, port).String()
	c.mu.Lock()
	if !slices.Contains(c.known, bind) {
		c.known = append(c.known, bind)
	}
	c.mu.Unlock()
	conf := cluster.Config{
		Name:      "node" + string(rune('a'+i%26)),
		Bind:      bind,
		Network:   c.net.Host(ip),
		Insecure:  true,
		Discovery: discovery.ProviderFunc(c.discover),
		Logger:    slog.New(slog.DiscardHandler),
	}
	if c.opts.config != nil {
		c.opts.config(i, &conf)
	}
	busOpts := []bus.Option{bus.WithLogger(conf.Logger)}
	if c.opts.bus != nil {
		busOpts = append(busOpts, c.opts.bus(i)...)
	}
	n := &Node{Bus: bus.New(busOpts...), IP: ip}
	c.nodes = append(c.nodes, n)
	return i, func() (err error) {
		if n.Node, err = cluster.Join(c.t.Context(), n.Bus, conf); err != nil {
			return fmt.Errorf("clustertest: node %d: %w", i, err)
		}
		return nil
	}
}

// discover tells the addresses of all nodes there were.
func (c *Cluster) discover(context.Context) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.known), nil
}

// Kill ends a node as SIGKILL ends a process: its streams are reset and its port
// is closed.
func (c *Cluster) Kill(i int) { c.drop(i, c.net.Kill) }

// PowerOff ends a node as a loss of power ends its host: nothing of it is heard
// any more, and nobody is told.
func (c *Cluster) PowerOff(i int) { c.drop(i, c.net.PowerOff) }

func (c *Cluster) drop(i int, off func(netip.Addr)) {
	n := c.nodes[i]
	n.killed = true
	off(n.IP)
	c.wg.Go(func() { _ = n.Close() }) // awaited by close
}

// Silence loses all that goes to and from a node, as when its cable is cut, also
// between it and nodes that are started later; Heal ends it.
func (c *Cluster) Silence(i int) { c.net.Silence(c.nodes[i].IP) }

// Block loses what goes from one node to another; the other way passes. Heal ends
// it.
func (c *Cluster) Block(from, to int) { c.net.Block(c.nodes[from].IP, c.nodes[to].IP) }

// Partition splits the nodes into groups that do not hear each other. Nodes that
// no group names, those that are started later too, are a group of their own. It
// replaces what was blocked before.
func (c *Cluster) Partition(groups ...[]int) {
	var sides [][]netip.Addr
	for _, g := range groups {
		var ips []netip.Addr
		for _, i := range g {
			ips = append(ips, c.nodes[i].IP)
		}
		sides = append(sides, ips)
	}
	c.net.Partition(sides...)
}

// Heal ends Silence, Block and Partition.
func (c *Cluster) Heal() { c.net.Heal() }

// Pause stops a node as SIGSTOP stops a process, as far as others can tell; see
// [Network.Pause]. Heal does not end it.
func (c *Cluster) Pause(i int) { c.net.Pause(c.nodes[i].IP) }

// Resume ends Pause: what had waited for the node arrives at once.
func (c *Cluster) Resume(i int) { c.net.Resume(c.nodes[i].IP) }

// Reset breaks the streams between two nodes.
func (c *Cluster) Reset(a, b int) { c.net.Reset(c.nodes[a].IP, c.nodes[b].IP) }

// Await waits until ok returns true, for at most limit, and returns how long that
// took. If it does not the test fails at once, saying what was awaited.
func (c *Cluster) Await(what string, limit time.Duration, ok func() bool) time.Duration {
	c.t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			c.t.Fatalf("clustertest: not within %v: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// AwaitLinked waits until the named nodes, all that run if none is named, are
// linked with each other and with nobody else, for at most ten seconds.
func (c *Cluster) AwaitLinked(nodes ...int) time.Duration {
	c.t.Helper()
	if len(nodes) == 0 {
		nodes = c.running()
	}
	return c.Await("all nodes are linked", 10*time.Second, func() bool { return c.Linked(nodes...) })
}

func (c *Cluster) running() (list []int) {
	for i, n := range c.nodes {
		if !n.killed && n.State() < cluster.StateLeaving {
			list = append(list, i)
		}
	}
	return list
}

// Linked reports whether the named nodes are linked with each other and with
// nobody else, and count each other among the living and nobody else.
func (c *Cluster) Linked(nodes ...int) bool {
	boots := map[uint64]bool{}
	for _, i := range nodes {
		boots[c.nodes[i].Self().Boot] = true
	}
	for _, i := range nodes {
		if !c.sees(i, boots) {
			return false
		}
	}
	return true
}

func (c *Cluster) sees(i int, boots map[uint64]bool) bool {
	count := 0
	for _, m := range c.nodes[i].Members() {
		alive := m.Status == cluster.StatusAlive
		if alive != boots[m.Boot] || alive != m.Linked() {
			return false
		}
		if alive {
			count++
		}
	}
	return count == len(boots)
}

// close ends all nodes at once and waits for what they leave behind.
func (c *Cluster) close() {
	c.net.Heal()
	for _, n := range c.nodes {
		c.net.Resume(n.IP)
		if n.Node != nil {
			c.wg.Go(func() { _ = n.Close() })
		}
	}
	c.wg.Wait()
	if inBubble() {
		time.Sleep(ghostTime)
	}
}

// inBubble tells by the time, which is of the year 2000 when a bubble of
// testing/synctest begins.
func inBubble() bool { return time.Now().Year() < 2020 }
