package cluster_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/internal/long"
	"github.com/runrig-go/runrig/discovery"
)

// childEnv makes the test binary a node that does what its parent says.
const childEnv = "RUNRIG_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := serveChild(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv("GOGC") == "" { // simulations make much garbage and keep little: twice as fast
		debug.SetGCPercent(400)
	}
	long.Waiting()
	os.Exit(m.Run())
}

// serveChild answers the parent's calls, until the parent is gone.
func serveChild(name string) error {
	s := rpc.NewServer()
	if err := s.RegisterName("Child", &Child{name: name, ledger: bustest.NewLedger()}); err != nil {
		return err
	}
	s.ServeConn(stdio{bufio.NewReader(os.Stdin), os.Stdout})
	return nil
}

type stdio struct {
	io.Reader
	io.WriteCloser
}

// Child is a node in a process of its own. Its exported methods are what a parent
// can have it do, by net/rpc.
type Child struct {
	name   string
	ledger *bustest.Ledger
	eb     *bus.EventBus
	node   *cluster.Node

	mu     sync.Mutex
	breaks []Break
	hold   chan struct{} // what the consumers of "stuck" wait for
	files  []*os.File

	loads sync.WaitGroup
	stop  context.CancelFunc
	tally Tally
}

// None stands for no arguments or no answer.
type None struct{}

// Start says how a child's node starts.
type Start struct {
	Secret string
	Bind   string // a free port of the loopback if not set
	Peers  []string
	Memory int64 // the limit of Go's runtime in bytes, if not 0
}

// Join starts the node and returns its address.
func (c *Child) Join(a Start, addr *string) error {
	if a.Memory > 0 {
		debug.SetMemoryLimit(a.Memory)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("child", c.name)
	c.eb = bus.New(bus.WithLogger(log))
	conf := cluster.Config{Name: c.name, Bind: cmp.Or(a.Bind, "127.0.0.1:0"), Discovery: discovery.Static(a.Peers...), Logger: log}
	if a.Secret != "" {
		conf.Secrets = cluster.NewSecrets(a.Secret)
	}
	var err error
	if c.node, err = cluster.Join(context.Background(), c.eb, conf); err != nil {
		return err
	}
	events := c.node.Events(context.Background())
	go func() { // ends with the node
		for e := range events {
			if e, ok := e.(cluster.Unlinked); ok {
				c.mu.Lock()
				c.breaks = append(c.breaks, Break{e.Member.Name, time.Now(), c.tally.Sent})
				c.mu.Unlock()
			}
		}
	}()
	*addr = c.node.Self().Addr
	return nil
}

// Consume says what a child's consumer does.
type Consume struct {
	Address string
	Takes   time.Duration
	Stuck   bool // it handles nothing before Release
	Panics  bool
}

// Consume registers a consumer that sends back what it gets, and waits until all
// know it.
func (c *Child) Consume(a Consume, _ *None) error {
	c.mu.Lock()
	if a.Stuck && c.hold == nil {
		c.hold = make(chan struct{})
	}
	hold := c.hold
	c.mu.Unlock()
	cn, err := c.eb.Consume(a.Address, bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
		var k bustest.Mark
		if err := m.Decode(&k); err != nil {
			return err
		}
		c.ledger.Handle(c.name+" "+a.Address, k, m)
		if a.Stuck {
			<-hold
		}
		if a.Panics {
			panic("a handler of the test")
		}
		if a.Takes > 0 {
			<-time.After(a.Takes)
		}
		if m.WantsReply() {
			return m.Reply(context.Background(), k)
		}
		return nil
	}), bus.WithConcurrency(1))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return cn.Known(ctx)
}

// Release lets the consumers that are stuck go on.
func (c *Child) Release(None, *None) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.hold)
	return nil
}

// Load is what a child sends.
type Load struct {
	Address  string
	Requests int // a second
	Sends    int // a second
	Senders  int // of the sends, 1 if not set; each sends one after the other
	Timeout  time.Duration
	Pad      int // bytes added to each send
}

// A Break is the end of a link.
type Break struct {
	Peer string
	At   time.Time
	Sent uint64 // number of the last send before
}

// A Failure is a call that failed.
type Failure struct {
	Kind string
	At   time.Time // when it failed
	Took time.Duration
}

// Tally is what came of a load.
type Tally struct {
	Requests, Replies, Sends int
	Sent                     uint64 // number of the last send
	Failed                   []Failure
	Breaks                   []Break
	Slowest                  time.Duration
	Took                     time.Duration
}

// senders is how many requests a load has under way at most.
const senders = 50

// Load begins to send. A child has one load at a time.
func (c *Child) Load(a Load, _ *None) error {
	ctx, cancel := context.WithCancel(context.Background())
	c.mu.Lock()
	c.stop, c.tally = cancel, Tally{}
	c.mu.Unlock()
	began := time.Now()
	if a.Requests > 0 {
		for i := range senders {
			every := senders * time.Second / time.Duration(a.Requests)
			c.loads.Go(func() {
				<-time.After(every * time.Duration(i) / senders)
				c.paced(ctx, every, func(seq uint64) {
					c.request(a, bustest.Mark{Sender: fmt.Sprint(c.name, " ", began.UnixNano(), " ", i), Seq: seq})
				})
			})
		}
	}
	if a.Sends > 0 {
		n := max(a.Senders, 1)
		for i := range n {
			c.loads.Go(func() {
				c.paced(ctx, time.Duration(n)*time.Second/time.Duration(a.Sends), func(seq uint64) {
					c.send(a, bustest.Mark{Sender: fmt.Sprint(c.name, " ", began.UnixNano(), " send ", i), Seq: seq})
				})
			})
		}
	}
	c.loads.Go(func() {
		<-ctx.Done()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.tally.Took = time.Since(began)
	})
	return nil
}

// paced calls f at a rate, later calls sooner if one took too long.
func (c *Child) paced(ctx context.Context, every time.Duration, f func(seq uint64)) {
	next := time.Now()
	for seq := uint64(1); ; seq++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		f(seq)
		if next = next.Add(every); time.Since(next) > time.Second {
			next = time.Now() // what was missed in a longer stop is not made up for
		}
	}
}

func (c *Child) request(a Load, k bustest.Mark) {
	ctx, cancel := context.WithTimeout(context.Background(), a.Timeout)
	defer cancel()
	began := time.Now()
	got, err := bus.Request[bustest.Mark](ctx, c.eb, a.Address, k)
	c.ledger.End(k, began.Add(a.Timeout), overload, err)
	if err == nil {
		c.ledger.Answer(k, got)
	}
	c.note(began, err, func(t *Tally) {
		t.Requests++
		if err == nil {
			t.Replies++
		}
	})
}

// padded is a mark with something that makes it large.
type padded struct {
	bustest.Mark
	Pad string `json:",omitempty"`
}

func (c *Child) send(a Load, k bustest.Mark) {
	ctx, cancel := context.WithTimeout(context.Background(), a.Timeout)
	defer cancel()
	c.mu.Lock()
	c.tally.Sent = k.Seq
	c.mu.Unlock()
	began := time.Now()
	err := c.eb.Send(ctx, a.Address, padded{k, strings.Repeat("x", a.Pad)})
	c.ledger.End(k, began.Add(a.Timeout), overload, err)
	if err == nil {
		c.ledger.Accept(k)
	}
	c.note(began, err, func(t *Tally) { t.Sends++ })
}

// overload is how late a call may end on a machine that is busy.
const overload = 500 * time.Millisecond

func (c *Child) note(began time.Time, err error, f func(*Tally)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.tally)
	took := time.Since(began)
	c.tally.Slowest = max(c.tally.Slowest, took)
	if err != nil && len(c.tally.Failed) < 10000 {
		c.tally.Failed = append(c.tally.Failed, Failure{kindOf(err), time.Now(), took})
	}
}

// handlerFailed is the kind of a bus.ReplyError.
const handlerFailed = "the handler failed"

// kindOf names what kind of error a call returned; "untyped: ..." if none.
func kindOf(err error) string {
	for _, kind := range []error{bus.ErrLinkLost, bus.ErrNoConsumer, bus.ErrBusy, bus.ErrClosed, context.DeadlineExceeded} {
		if errors.Is(err, kind) {
			return kind.Error()
		}
	}
	if errors.As(err, new(*bus.ReplyError)) {
		return handlerFailed
	}
	return "untyped: " + err.Error()
}

// Tally returns what came of the load so far.
func (c *Child) Tally(_ None, t *Tally) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	*t = c.tally
	t.Breaks = c.breaks
	return nil
}

// Unload ends the load, waits for its last call, and returns what came of it.
func (c *Child) Unload(n None, t *Tally) error {
	c.mu.Lock()
	stop := c.stop
	c.mu.Unlock()
	stop()
	c.loads.Wait()
	return c.Tally(n, t)
}

// Status is what can be seen of a child.
type Status struct {
	Linked     []string // names of members
	Goroutines int
	Files      int
	RSS        int64 // bytes
	Bus        bus.Stats
	Node       cluster.Stats
}

// Status returns what can be seen of the child now.
func (c *Child) Status(_ None, s *Status) error {
	for _, p := range c.eb.Peers() {
		s.Linked = append(s.Linked, p.Name)
	}
	s.Goroutines, s.RSS = runtime.NumGoroutine(), rss()
	if dir, err := os.ReadDir("/proc/self/fd"); err == nil {
		s.Files = len(dir)
	}
	s.Bus, s.Node = c.eb.Stats(), c.node.Stats()
	return nil
}

// Usage is what a child takes of the machine.
type Usage struct {
	CPU        time.Duration // since it started
	RSS        int64         // bytes
	Heap       int64         // bytes of objects and stacks, after a collection if Collect
	Goroutines int
	Bytes      uint64 // written to links
}

// Usage returns what the child takes of the machine.
func (c *Child) Usage(collect bool, u *Usage) error {
	if collect {
		debug.FreeOSMemory()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.CPU, u.RSS, u.Heap, u.Goroutines = cpuTime(), rss(), int64(m.HeapAlloc+m.StackInuse), runtime.NumGoroutine()
	for _, l := range c.eb.Links() {
		u.Bytes += l.BytesOut
	}
	return nil
}

// Heap returns how many objects the child's heap holds.
func (c *Child) Heap(_ None, objects *uint64) error {
	runtime.GC()
	runtime.GC() // what finalizers let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	*objects = m.HeapObjects
	return nil
}

// rss returns the resident memory of the process, 0 if the system does not say.
func rss() int64 {
	var size, pages int64
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// Exhaust opens files until the process can have no more, of which it may have
// limit.
func (c *Child) Exhaust(limit uint64, _ *None) error {
	if err := limitFiles(limit); err != nil {
		return err
	}
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			if errors.Is(err, syscall.EMFILE) {
				return nil
			}
			return err
		}
		c.files = append(c.files, f)
	}
}

// Refill closes the files that Exhaust opened.
func (c *Child) Refill(None, *None) error {
	var first error
	for _, f := range c.files {
		first = cmp.Or(first, f.Close())
	}
	c.files = nil
	return first
}

// Record returns what the child's ledger knows.
func (c *Child) Record(_ None, r *bustest.Record) error {
	*r = c.ledger.Record()
	return nil
}

// Renew has the child begin a new ledger. Nothing is under way.
func (c *Child) Renew(None, *None) error {
	c.ledger = bustest.NewLedger()
	return nil
}

// Close closes the node and returns how long that took.
func (c *Child) Close(_ None, took *time.Duration) error {
	began := time.Now()
	err := c.node.Close()
	*took = time.Since(began)
	return err
}
