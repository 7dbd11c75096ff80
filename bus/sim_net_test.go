package bus_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// simNet is the buses of a simulation, each linked with each over streams in
// memory. Unlike those of a bustest.Cluster its links can be superseded.
type simNet struct {
	t    *testing.T
	wg   sync.WaitGroup // ends of links
	opts []bus.Option   // of all buses
	line line           // of links that are made from now on

	mu    sync.Mutex
	nodes []*node
	ends  map[[2]int]*simEnd // [i, j]: the end at i of the link to j
}

// line is what a link is like, in each direction. The zero line takes all at once.
type line struct {
	rate   int // bytes a second
	buffer int // bytes that a kernel holds; 0: 256 KiB
	delay  time.Duration
	reads  int // bytes a second that the ends read; 0: as they come
}

// slowReader is an end of a link whose process takes its time to read.
type slowReader struct {
	*bustest.Conn
	rate int
}

func (c slowReader) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b[:min(len(b), max(1, c.rate/100))])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(c.rate))
	return n, err
}

// end returns what a bus has to serve.
func (l line) end(c *bustest.Conn) net.Conn {
	if l.reads == 0 {
		return c
	}
	return slowReader{c, l.reads}
}

// mbit returns a rate in bytes a second.
func mbit(n float64) int { return int(n * 1e6 / 8) }

// pipe returns the two ends of a stream over the line.
func (l line) pipe() (a, b *bustest.Conn) {
	var opts []bustest.PipeOption
	if l.buffer > 0 {
		opts = append(opts, bustest.WithBuffer(l.buffer))
	}
	a, b = bustest.Pipe(opts...)
	l.shape(a)
	l.shape(b)
	return a, b
}

// shape makes what an end sends from now on take the line.
func (l line) shape(end *bustest.Conn) {
	end.SetRate(l.rate)
	if end.SetDelay(nil); l.delay > 0 {
		end.SetDelay(func() time.Duration { return l.delay })
	}
}

// simEnd is one end of a link.
type simEnd struct {
	*bustest.Conn
	supersede context.CancelFunc
}

func newSimNet(t *testing.T) *simNet { return &simNet{t: t, ends: map[[2]int]*simEnd{}} }

// add adds a bus, linked with all that are there, and returns its number.
func (sn *simNet) add() int {
	sn.t.Helper()
	sn.mu.Lock()
	i := len(sn.nodes)
	sn.nodes = append(sn.nodes, newNode(sn.t, i, sn.opts...))
	sn.mu.Unlock()
	for j := range i {
		sn.link(i, j)
	}
	return i
}

func (sn *simNet) node(i int) *node {
	sn.mu.Lock()
	defer sn.mu.Unlock()
	return sn.nodes[i]
}

func (sn *simNet) bus(i int) *bus.EventBus { return sn.node(i).EventBus }

func (sn *simNet) end(i, j int) *simEnd {
	sn.mu.Lock()
	defer sn.mu.Unlock()
	return sn.ends[[2]int{i, j}]
}

// link links two buses and waits until the link is up, or has been refused.
func (sn *simNet) link(i, j int) {
	sn.t.Helper()
	a, b := sn.line.pipe()
	for _, up := range []<-chan struct{}{sn.serve(i, j, a), sn.serve(j, i, b)} {
		select {
		case <-up:
		case <-time.After(10 * time.Second):
			sn.t.Errorf("the link between n%d and n%d is not up after 10 s", i, j)
		}
	}
}

// serve runs one end until the link ends; the channel is closed when it is up,
// or has ended.
func (sn *simNet) serve(i, j int, conn *bustest.Conn) <-chan struct{} {
	ctx, supersede := context.WithCancel(context.Background())
	at, to := sn.node(i), sn.node(j)
	sn.mu.Lock()
	sn.ends[[2]int{i, j}] = &simEnd{conn, supersede}
	sn.mu.Unlock()
	served := sn.line.end(conn)
	up := make(chan struct{})
	var once sync.Once
	sn.wg.Go(func() {
		defer supersede()
		_ = at.attachment.ServeLink(ctx, to.peer, served, func() { once.Do(func() { close(up) }) })
		once.Do(func() { close(up) })
	})
	return up
}

// close closes all buses and waits for what runs on them.
func (sn *simNet) close() {
	closeAll(sn.nodes)
	sn.wg.Wait()
}
