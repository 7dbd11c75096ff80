package bustest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// Cluster is event buses in one process, each linked with each over a stream
// in memory, and joined by a gossip lane that loses nothing. The buses are the
// real ones; what is missing is finding each other and the handshake, which are
// package cluster's. Its methods may be called concurrently.
type Cluster struct {
	tb   testing.TB
	opts []bus.Option
	wg   sync.WaitGroup

	mu    sync.Mutex
	nodes []*node
	conns map[[2]int]*Conn // [i, j]: the end at i of the link to j
}

type node struct {
	bus        *bus.EventBus
	attachment *bus.Attachment
	peer       bus.Peer
}

// NewCluster returns n linked buses. They are closed when the test ends.
func NewCluster(tb testing.TB, n int, opts ...bus.Option) *Cluster {
	c := &Cluster{tb: tb, opts: opts, conns: map[[2]int]*Conn{}}
	for range n {
		c.Add()
	}
	tb.Cleanup(c.close)
	return c
}

func (c *Cluster) close() {
	c.mu.Lock()
	nodes := c.nodes
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() { _ = n.bus.Close() })
	}
	wg.Wait()
	c.wg.Wait()
}

// Bus returns a bus by number, from 0. Its node is called "n" and the number.
func (c *Cluster) Bus(i int) *bus.EventBus { return c.node(i).bus }

func (c *Cluster) node(i int) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i]
}

// Add adds a bus, links it with all that are there, and returns its number. It
// waits until the links are up.
func (c *Cluster) Add() int {
	c.tb.Helper()
	c.mu.Lock()
	i := len(c.nodes)
	n := &node{bus: bus.New(c.opts...), peer: bus.Peer{Name: fmt.Sprint("n", i), Boot: uint64(i + 1), Addr: fmt.Sprint("n", i)}}
	var err error
	if n.attachment, err = n.bus.Attach(n.peer, gossiper{c, i}); err != nil {
		c.mu.Unlock()
		c.tb.Fatal(err)
	}
	c.nodes = append(c.nodes, n)
	c.mu.Unlock()
	for j := range i {
		c.Link(i, j)
	}
	return i
}

// Link links two buses whose link has ended, and waits until it is up. It does
// nothing if one of them is closed.
func (c *Cluster) Link(i, j int) {
	c.tb.Helper()
	a, b := Pipe()
	c.mu.Lock()
	c.conns[[2]int{i, j}], c.conns[[2]int{j, i}] = a, b
	c.mu.Unlock()
	up := c.serve(i, j, a)
	for _, up := range []<-chan struct{}{up, c.serve(j, i, b)} {
		select {
		case <-up:
		case <-time.After(10 * time.Second):
			c.tb.Fatalf("bustest: link between n%d and n%d is not up after 10 s", i, j)
		}
	}
}

// serve runs a link until it ends; the returned channel is closed when it is up,
// or has ended.
func (c *Cluster) serve(i, j int, conn *Conn) <-chan struct{} {
	at, to := c.node(i), c.node(j)
	up := make(chan struct{})
	var once sync.Once
	c.wg.Go(func() {
		_ = at.attachment.ServeLink(context.Background(), to.peer, conn, func() { once.Do(func() { close(up) }) })
		once.Do(func() { close(up) })
	})
	return up
}

// Conn returns the end at i of the link with j, for its faults.
func (c *Cluster) Conn(i, j int) *Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conns[[2]int{i, j}]
}

// Break resets the link between two buses and waits until both have noticed.
func (c *Cluster) Break(i, j int) {
	c.tb.Helper()
	c.Conn(i, j).Reset()
	deadline := time.Now().Add(10 * time.Second)
	for c.linked(i, j) || c.linked(j, i) {
		if time.Now().After(deadline) {
			c.tb.Fatalf("bustest: link between n%d and n%d is up 10 s after its end", i, j)
		}
		time.Sleep(time.Millisecond) // virtual in a bubble
	}
}

func (c *Cluster) linked(i, j int) bool {
	for _, p := range c.Bus(i).Peers() {
		if p.Boot == uint64(j+1) {
			return true
		}
	}
	return false
}

// gossiper is the gossip lane of bus i.
type gossiper struct {
	c *Cluster
	i int
}

// Gossip hands the payload to all buses, the sender's too.
func (l gossiper) Gossip(payload []byte) error {
	l.c.mu.Lock()
	nodes := append([]*node(nil), l.c.nodes...)
	l.c.mu.Unlock()
	for _, n := range nodes {
		n.attachment.ReceiveGossip(payload)
	}
	return nil
}
