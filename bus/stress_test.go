package bus_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
)

var stressFor = flag.Duration("stress.for", 1500*time.Millisecond, "how long each stress test runs; with -short a fifth of it")

func stressTime() time.Duration {
	if testing.Short() {
		return *stressFor / 5
	}
	return *stressFor
}

const stressAddresses = 3

func stressAddress(i int) string { return fmt.Sprint("a", i%stressAddresses) }

// stressSize is that of a small body, or now and then of one that goes in chunks.
func stressSize() int {
	if rand.IntN(100) == 0 {
		return 64<<10 + rand.IntN(256<<10)
	}
	return rand.IntN(600)
}

// load is what runs beside a stress test until it is stopped.
type load struct {
	stopped chan struct{}
	wg      sync.WaitGroup
}

func newLoad() *load { return &load{stopped: make(chan struct{})} }

func (l *load) stop() {
	close(l.stopped)
	l.wg.Wait()
}

// every calls f with 1, 2, 3 … until it returns false or the load is stopped.
func (l *load) every(f func(i int) bool) {
	l.wg.Go(func() {
		for i := 1; !isClosed(l.stopped) && f(i); i++ {
		}
	})
}

// upTo waits a random time, less if the load is stopped.
func (l *load) upTo(most time.Duration) {
	select {
	case <-time.After(rand.N(most)):
	case <-l.stopped:
	}
}

// churn registers consumers for a moment, one after the other.
func (l *load) churn(t *testing.T, eb *bus.EventBus, handler func() bus.HandlerFunc) {
	l.every(func(int) bool {
		l.upTo(3 * time.Millisecond)
		h, opts := handler(), []bus.ConsumeOption{bus.WithWindow(1 << 10)}
		if rand.IntN(4) == 0 {
			_, h = hearer(t)
			opts = append(opts, bus.PublishedOnly())
		}
		c, err := eb.Consume(stressAddress(rand.IntN(stressAddresses)), h, opts...)
		if err != nil {
			if !errors.Is(err, bus.ErrClosed) {
				t.Error(err)
			}
			return false
		}
		l.upTo(5 * time.Millisecond)
		c.Close()
		return true
	})
}

// Promise 4 under load: nodes join and leave, one or two at a time, some while a
// newcomer links; consumers come and go. No call fails, nothing is lost, nothing
// comes twice.
func TestStressRolling(t *testing.T) {
	for name, transport := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rolling{t: t, lo: transport(t), load: newLoad()}
			for range 3 {
				r.join()
			}
			for end := time.Now().Add(stressTime()); time.Now().Before(end) && !t.Failed(); {
				r.roll()
			}
			r.end()
		})
	}
}

type rolling struct {
	t     *testing.T
	lo    *loopback
	load  *load
	nodes []*node // linked with each other
	left  []*node

	sent, handled atomic.Int64
}

// join adds a node that consumes and sends.
func (r *rolling) join() {
	n := newNode(r.t, len(r.nodes)+len(r.left), deadLetters(func(d bus.DeadLetter) {
		r.t.Errorf("dead letter at %s: %v", d.Address, d.Reason)
	}))
	for _, o := range r.nodes {
		r.lo.link(r.t, n, o)
	}
	for i := range stressAddresses {
		consume(r.t, n.EventBus, stressAddress(i), r.handle, bus.WithWindow(2<<10))
	}
	for range 3 {
		r.load.every(func(i int) bool { return r.call(n, i) })
	}
	r.load.churn(r.t, n.EventBus, func() bus.HandlerFunc { return r.handle })
	r.nodes = append(r.nodes, n)
}

func (r *rolling) handle(context.Context, *bus.Message) error {
	if rand.IntN(10) == 0 {
		<-time.After(time.Millisecond) // some are slow, so that others wait
	}
	r.handled.Add(1)
	return nil
}

// call sends or requests; it reports false when the node has left.
func (r *rolling) call(n *node, i int) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var err error
	if body := make([]byte, stressSize()); i%3 == 0 {
		_, err = n.Request(ctx, stressAddress(i), body)
	} else {
		err = n.Send(ctx, stressAddress(i), body)
	}
	switch {
	case err == nil:
		r.sent.Add(1)
	case !errors.Is(err, bus.ErrClosed):
		r.t.Errorf("%s: %v", n.peer.Name, err)
	}
	return err == nil
}

// roll replaces one or two nodes. The second newcomer joins while they leave,
// or just before.
func (r *rolling) roll() {
	r.join()
	n := r.nodes[len(r.nodes)-1]
	within(r.t, n.peer.Name+" takes part", func() bool { return n.Stats().Handled > 10 })
	count := 1 + rand.IntN(2)
	during := rand.IntN(2) == 0
	if count == 2 && !during {
		r.join()
	}
	leavers := r.nodes[:count]
	var wg sync.WaitGroup
	for _, n := range leavers {
		wg.Go(func() { r.leave(n) })
	}
	if count == 2 && during {
		r.join()
	}
	wg.Wait()
	for _, n := range leavers {
		n.serving.Wait()
	}
	r.left, r.nodes = append(r.left, leavers...), r.nodes[count:]
}

func (r *rolling) leave(n *node) {
	begin := time.Now()
	err := n.Close()
	if took := time.Since(begin); err != nil || took > 5*time.Second {
		r.t.Errorf("%s left after %v: %v", n.peer.Name, took, err)
	}
}

func (r *rolling) end() {
	r.load.stop()
	within(r.t, "all handled", func() bool { return r.sent.Load() == r.handled.Load() })
	all := append(r.left, r.nodes...)
	closeAll(r.nodes)
	r.t.Logf("%d nodes left under load; %d sent", len(r.left), r.sent.Load())
	if sent, handled := r.sent.Load(), r.handled.Load(); sent != handled {
		r.t.Errorf("%d sent, %d handled", sent, handled)
	}
	for _, n := range all {
		if s := n.Stats(); s.Unknown > 0 || s.Sent != s.Settled+s.Bounced {
			r.t.Errorf("%s: %+v", n.peer.Name, s)
		}
		addUp(r.t, n.EventBus)
	}
}

// Promises 1 and 5 under load: links are reset, superseded, and come again, while
// consumers come and go. No message comes twice or out of order, no frame is
// malformed, and in the end the sums balance.
func TestStressBreaking(t *testing.T) {
	for name, transport := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &breaking{t: t, lo: transport(t), seen: map[uint64]bool{}}
			for i := range 3 {
				b.nodes = append(b.nodes, newNode(t, i, bus.WithDrainTimeout(5*time.Second)))
			}
			links, calls := newLoad(), newLoad()
			for i, n := range b.nodes {
				for _, o := range b.nodes[:i] {
					links.every(func(int) bool { return b.link(links, n, o) })
				}
				for g := range 3 {
					calls.every(func(seq int) bool {
						if err := b.call(n, 3*i+g+1, seq); errors.Is(err, bus.ErrNoConsumer) {
							calls.upTo(time.Millisecond)
						}
						return true
					})
				}
				calls.churn(t, n.EventBus, b.handler)
				calls.churn(t, n.Scope(), b.handler)
			}
			<-time.After(stressTime())
			calls.stop()
			links.stop()
			b.end()
		})
	}
}

type breaking struct {
	t     *testing.T
	lo    *loopback
	nodes []*node
	links atomic.Int64 // that have ended

	mu   sync.Mutex
	seen map[uint64]bool // sends
}

// link holds a link between two nodes until it breaks, which it does soon.
func (b *breaking) link(l *load, x, y *node) bool {
	cx, cy, reset, err := b.lo.connect()
	if err != nil {
		b.t.Error(err)
		return false
	}
	ended := make(chan struct{})
	var ends, breaks sync.WaitGroup
	ends.Go(func() { b.serve(x, y.peer, cx) })
	ends.Go(func() { b.serve(y, x.peer, cy) })
	breaks.Go(func() {
		select {
		case <-time.After(rand.N(100 * time.Millisecond)):
		case <-ended:
		}
		reset()
	})
	ends.Wait()
	close(ended)
	breaks.Wait()
	b.links.Add(1)
	return true
}

// serve runs one end of a link; one in three is superseded.
func (b *breaking) serve(at *node, peer bus.Peer, conn net.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if rand.IntN(3) == 0 {
		defer time.AfterFunc(rand.N(60*time.Millisecond), cancel).Stop()
	}
	if err := at.attachment.ServeLink(ctx, peer, conn, nil); err != nil && strings.Contains(err.Error(), "malformed") {
		b.t.Errorf("link of %s: %v", at.peer.Name, err)
	}
}

// Bodies of a stress test begin with the sender's number and a sequence number.
const senderBits = 40

// call calls one address, as a sender that always uses the same.
func (b *breaking) call(n *node, sender, seq int) (err error) {
	body := make([]byte, 16+stressSize())
	binary.LittleEndian.PutUint64(body, uint64(sender)<<senderBits|uint64(seq))
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rand.IntN(30))*time.Millisecond)
	defer cancel()
	switch a := stressAddress(sender); seq % 4 {
	case 0:
		body[8] = 1 // not to come twice
		err = n.Send(ctx, a, body)
	case 1:
		_, err = n.Request(ctx, a, body)
	case 2:
		err = n.Publish(ctx, a, body)
	case 3: // may come twice, and late
		_, err = n.Request(ctx, a, nil, bus.Idempotent())
	}
	return err
}

// handler returns a handler of a consumer, which checks what comes to it.
func (b *breaking) handler() bus.HandlerFunc {
	last := map[uint64]uint64{} // by sender; one message at a time
	return func(ctx context.Context, m *bus.Message) error {
		if len(m.Body) > 0 {
			b.check(m, last)
		}
		switch rand.IntN(30) {
		case 0:
			<-time.After(time.Millisecond)
		case 1:
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Millisecond):
			}
		case 2:
			return errors.New("no")
		}
		return nil
	}
}

func (b *breaking) check(m *bus.Message, last map[uint64]uint64) {
	id := binary.LittleEndian.Uint64(m.Body)
	if m.Body[8] == 1 {
		b.mu.Lock()
		if b.seen[id] {
			b.t.Errorf("%x came twice", id)
		}
		b.seen[id] = true
		b.mu.Unlock()
	}
	if sender := id >> senderBits; !m.Rerouted() {
		if last[sender] >= id {
			b.t.Errorf("%x came after %x", id, last[sender])
		}
		last[sender] = id
	}
}

func (b *breaking) end() {
	for _, n := range b.nodes {
		within(b.t, n.peer.Name+"'s sums balance", func() bool {
			s := n.Stats()
			return s.Sent == s.Settled+s.Bounced+s.Unknown
		})
		if err := n.Close(); err != nil {
			b.t.Errorf("%s: %v", n.peer.Name, err)
		}
		if s := n.Stats(); s.Sent != s.Settled+s.Bounced+s.Unknown || s.Sent == 0 {
			b.t.Errorf("%s: %+v", n.peer.Name, s)
		}
		if n := bus.PoolMissing(n.EventBus); n != 0 {
			b.t.Errorf("without links the pool misses %d bytes", n)
		}
		addUp(b.t, n.EventBus)
	}
	b.t.Logf("%d links broke, %d sends were handled", b.links.Load(), len(b.seen))
}
