package cluster_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
)

// logged keeps what many nodes log at WARN or above, and counts the rest.
type logged struct {
	mu     sync.Mutex
	warned []string
	told   int
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.Contains(b, []byte("level=INFO")) {
		l.told++
	} else {
		l.warned = append(l.warned, string(b))
	}
	return len(b), nil
}

// take returns what was logged since it was called last.
func (l *logged) take() (warned []string, told int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	warned, told = l.warned, l.told
	l.warned, l.told = nil, 0
	return warned, told
}

// A service is made of some nodes on real sockets with a secret, which all log
// to one place. Discovery tells those that run.
type service struct {
	t    *testing.T
	log  *slog.Logger
	addr func(i int) string // of node i, as each has an IP address of its own
	next int

	mu    sync.Mutex
	nodes []*cluster.Node
}

func (f *service) peers() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var addrs []string
	for _, n := range f.nodes {
		addrs = append(addrs, n.Self().Addr)
	}
	return addrs
}

// start starts so many nodes at once, of whom discovery tells all.
func (f *service) start(count int) {
	addrs := f.peers()
	for i := range count {
		addrs = append(addrs, f.addr(f.next+i))
	}
	first := f.next
	f.next += count
	together(count, func(i int) {
		n, err := cluster.Join(f.t.Context(), bus.New(bus.WithLogger(f.log)), cluster.Config{
			Bind: f.addr(first + i), Secrets: cluster.NewSecrets(secret), Logger: f.log, Discovery: discovery.Static(addrs...),
		})
		if err != nil {
			f.t.Error(err)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.nodes = append(f.nodes, n)
	})
	if f.t.Failed() {
		f.t.FailNow()
	}
}

// close closes the oldest node.
func (f *service) close() {
	f.mu.Lock()
	n := f.nodes[0]
	f.nodes = slices.Delete(f.nodes, 0, 1)
	f.mu.Unlock()
	if err := n.Close(); err != nil {
		f.t.Error(err)
	}
}

func (f *service) awaitMesh() {
	f.t.Helper()
	for _, n := range f.nodes {
		within(f.t, 2*time.Minute, "all are linked", func() bool { return linked(n) == len(f.nodes)-1 })
	}
}

// starvedFor is how long a goroutine that has something to do may wait for the
// machine. One on which it waits longer has no time for a cluster: then warnings
// that others do not answer are true.
const starvedFor = 200 * time.Millisecond

// watchMachine returns a function that tells for how long a goroutine had to wait
// at most since it was called last.
func watchMachine(t *testing.T) (worst func() time.Duration) {
	var longest atomic.Int64
	tick := time.NewTicker(10 * time.Millisecond)
	t.Cleanup(tick.Stop)
	go func() { // ends with the test
		last := time.Now()
		for {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				return
			}
			longest.Store(max(longest.Load(), int64(time.Since(last))))
			last = time.Now()
		}
	}()
	return func() time.Duration { return time.Duration(longest.Swap(0)) }
}

// together does f for so many at once.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// A clean start of all at once and one after the other, a rolling deployment, leaves
// and the end of all log nothing at WARN or above, as nothing is wrong.
func TestNothingIsWarnedOf(t *testing.T) {
	if l, err := net.Listen("tcp", "127.64.0.1:0"); err != nil {
		t.Skip("needs the whole of 127/8 on the loopback:", err)
	} else {
		_ = l.Close()
	}
	sizes := map[int]int{3: 3, 10: 3} // nodes, and how many are replaced
	if figures {
		sizes = map[int]int{3: 10, 5: 30, 10: 10, 50: 10}
	}
	for size, replaced := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			sideBySide(t)
			testNothingIsWarnedOf(t, size, replaced)
		})
	}
}

func testNothingIsWarnedOf(t *testing.T, size, replaced int) {
	var lines logged
	octet := 64 + rand.IntN(128) // another run of the test may be at it, too
	f := &service{t: t, log: slog.New(slog.NewTextHandler(&lines, nil)), addr: func(i int) string {
		return fmt.Sprintf("127.%d.%d.%d:7946", octet, size, i+1)
	}}
	worst := watchMachine(t)
	check := func(what string) {
		t.Helper()
		warned, told := lines.take()
		waited := worst()
		t.Logf("%s: %d at WARN or above, %d at INFO; a goroutine waited for %v at most", what, len(warned), told, waited)
		if len(warned) > 0 && waited < starvedFor {
			t.Errorf("%s:\n%s", what, strings.Join(warned, ""))
		}
	}
	f.start(size)
	f.awaitMesh()
	check("all start at once")
	for range replaced {
		f.start(1)
		f.awaitMesh()
		f.close()
	}
	check(fmt.Sprintf("%d are replaced", replaced))
	f.close()
	check("one leaves")
	together(size-1, func(int) { f.close() })
	pass(3 * time.Second) // what ends later may still log
	check("all leave at once")
}
