package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/discovery"
)

// A faulty network is the system's, whose streams are reset after some bytes, or
// carry nothing any more though nobody closes them.
type faulty struct {
	systemNetwork

	mu    sync.Mutex
	rng   *rand.Rand
	reset int // a new stream is reset once it has carried up to so many bytes; 0: never
	mute  bool
	conns map[*faultyConn]bool
}

func newFaulty() *faulty {
	return &faulty{rng: rand.New(rand.NewPCG(1, 1)), conns: map[*faultyConn]bool{}}
}

func (f *faulty) setReset(bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reset = bytes
}

// setMute makes the host vanish, or come back; streams from before stay mute.
func (f *faulty) setMute(mute bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute = mute
	for c := range f.conns {
		c.mute.Store(c.mute.Load() || mute)
	}
}

func (f *faulty) muted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mute
}

func (f *faulty) wrap(c net.Conn) net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	fc := &faultyConn{Conn: c, net: f, closed: make(chan struct{})}
	fc.left.Store(1 << 60)
	if f.reset > 0 {
		fc.left.Store(int64(f.rng.IntN(f.reset)))
	}
	fc.mute.Store(f.mute)
	f.conns[fc] = true
	return fc
}

func (f *faulty) Listen(ctx context.Context, addr netip.AddrPort) (net.Listener, PacketConn, error) {
	l, p, err := f.systemNetwork.Listen(ctx, addr)
	return faultyListener{l, f}, faultyPackets{p, f}, err
}

func (f *faulty) Dial(ctx context.Context, local netip.Addr, addr netip.AddrPort) (net.Conn, error) {
	c, err := f.systemNetwork.Dial(ctx, local, addr)
	if err != nil {
		return nil, err
	}
	return f.wrap(c), nil
}

type faultyListener struct {
	net.Listener
	net *faulty
}

func (l faultyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.net.wrap(c), nil
}

type faultyPackets struct {
	PacketConn
	net *faulty
}

func (p faultyPackets) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if p.net.muted() {
		return len(b), nil
	}
	return p.PacketConn.WriteToUDPAddrPort(b, to)
}

func (p faultyPackets) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := p.PacketConn.ReadFromUDPAddrPort(b)
		if err != nil || !p.net.muted() {
			return n, from, err
		}
	}
}

type faultyConn struct {
	net.Conn
	net    *faulty
	left   atomic.Int64 // bytes to carry before the reset
	mute   atomic.Bool
	closed chan struct{}
	once   sync.Once
}

// Write sends, at the end in the middle of what was to be sent: the rest of it is
// lost with the stream.
func (c *faultyConn) Write(b []byte) (int, error) {
	if c.mute.Load() {
		return len(b), nil
	}
	left := c.left.Add(-int64(len(b)))
	if left >= 0 {
		return c.Conn.Write(b)
	}
	if n := int64(len(b)) + left; n > 0 {
		_, _ = c.Conn.Write(b[:n])
	}
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // what is not sent yet is thrown away, and the peer gets RST
	}
	_ = c.Close()
	return 0, net.ErrClosed
}

func (c *faultyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for c.mute.Load() {
		if err != nil {
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				return 0, err // its own deadline
			}
			<-c.closed
			return 0, err
		}
		n, err = c.Conn.Read(b)
	}
	return n, err
}

func (c *faultyConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.net.mu.Lock()
		delete(c.net.conns, c)
		c.net.mu.Unlock()
	})
	return c.Conn.Close()
}

// parcel is a message that shows when it is not whole.
type parcel struct {
	bustest.Mark
	Pad string
}

func newParcel(k bustest.Mark, size int) parcel {
	return parcel{k, strings.Repeat(fmt.Sprint(k.Seq, " "), size/10)}
}

// exchangers send parcels between nodes.
type exchangers struct {
	t      *testing.T
	ledger *bustest.Ledger
	stop   chan struct{}
	wg     sync.WaitGroup

	mu      sync.Mutex
	replies int
	errs    map[string]int
	latest  time.Time // when a call failed last
}

func newExchangers(t *testing.T) *exchangers {
	return &exchangers{t: t, ledger: bustest.NewLedger(), stop: make(chan struct{}), errs: map[string]int{}}
}

func (x *exchangers) consume(n *Node) {
	x.t.Helper()
	c, err := n.eb.Consume("parcels", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
		var p parcel
		if err := m.Decode(&p); err != nil || strings.ReplaceAll(p.Pad, fmt.Sprint(p.Seq, " "), "") != "" {
			x.t.Errorf("a message that is not whole: %v", err)
		}
		x.ledger.Handle(n.self.Name, p.Mark, m)
		return m.Reply(context.Background(), p)
	}))
	if err != nil {
		x.t.Fatal(err)
	}
	if err := c.Known(x.t.Context()); err != nil {
		x.t.Fatal(err)
	}
}

// ask sends requests of all sizes, one after the other, until the end.
func (x *exchangers) ask(n *Node, name string, limit time.Duration) {
	rng := rand.New(rand.NewPCG(uint64(len(name)), 5))
	for seq := uint64(1); ; seq++ {
		select {
		case <-x.stop:
			return
		case <-time.After(time.Millisecond):
		}
		size := 100 + rng.IntN(4000)
		if rng.IntN(20) == 0 {
			size = 100 << 10
		}
		p := newParcel(bustest.Mark{Sender: name, Seq: seq}, size)
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		deadline := time.Now().Add(limit)
		got, err := bus.Request[parcel](ctx, n.eb, "parcels", p)
		cancel()
		x.ledger.End(p.Mark, deadline, 500*time.Millisecond, err)
		if err == nil {
			x.ledger.Answer(p.Mark, got.Mark)
			if got != p {
				x.t.Errorf("%+v came back changed", p.Mark)
			}
		}
		x.note(err)
	}
}

func (x *exchangers) note(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		x.replies++
		return
	}
	x.latest = time.Now()
	for _, kind := range []error{bus.ErrLinkLost, bus.ErrNoConsumer, bus.ErrBusy, context.DeadlineExceeded} {
		if errors.Is(err, kind) {
			x.errs[kind.Error()]++
			return
		}
	}
	x.t.Errorf("a request failed untyped: %v", err)
}

func (x *exchangers) seen() (replies int, errs string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.replies, fmt.Sprint(x.errs)
}

func (x *exchangers) end() {
	x.t.Helper()
	close(x.stop)
	x.wg.Wait()
	for _, text := range x.ledger.Broken() {
		x.t.Error(text)
	}
	if lost := x.ledger.Lost(); len(lost) > 0 {
		x.t.Errorf("%d were answered and not handled", len(lost))
	}
}

func await(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-time.After(5 * time.Millisecond)
	}
	return time.Since(began)
}

func hasPeer(n *Node, other *Node) bool {
	for _, p := range n.eb.Peers() {
		if p.Boot == other.self.Boot {
			return true
		}
	}
	return false
}

// Streams that are reset in the middle of a frame, again and again: no message
// comes in part or twice, no reply is another's, and the nodes are linked again
// by themselves.
func TestResetInFrame(t *testing.T) {
	t.Parallel()
	for name, secrets := range map[string]Secrets{"plain": {}, "secret": NewSecrets(testSecret)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFaulty()
			a := started(t, Config{Name: "a", Network: f, Secrets: secrets})
			b := started(t, Config{Name: "b", Network: f, Secrets: secrets, Discovery: discovery.Static(a.self.Addr)})
			x := newExchangers(t)
			x.consume(a)
			x.consume(b)
			events := a.Events(t.Context())
			for i := range 4 {
				x.wg.Go(func() { x.ask(a, strings.Repeat("a", i+1), 3*time.Second) })
				x.wg.Go(func() { x.ask(b, strings.Repeat("b", i+1), 3*time.Second) })
			}
			f.setReset(200 << 10)
			f.cutAll()
			broke := 0
			for over := time.After(3 * time.Second); over != nil; {
				select {
				case e := <-events:
					if _, ok := e.(Unlinked); ok {
						broke++
					}
				case <-over:
					over = nil
				}
			}
			f.setReset(0)
			f.cutAll()
			took := await(t, 15*time.Second, "both are linked again", func() bool { return hasPeer(a, b) && hasPeer(b, a) })
			before, _ := x.seen()
			await(t, 10*time.Second, "requests are answered again", func() bool { n, _ := x.seen(); return n > before+100 })
			x.end()
			replies, errs := x.seen()
			t.Logf("the link broke %d times; %d replies, failed: %s; linked again after %v", broke, replies, errs, took)
			if broke < 3 {
				t.Errorf("the link broke %d times; nothing is tested", broke)
			}
		})
	}
}

// cutAll resets the streams that are open at their next write.
func (f *faulty) cutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.left.Store(int64(f.rng.IntN(100)))
	}
}

// A peer that vanishes without a word, on real sockets whose other end takes what
// is written: requests to it fail within five seconds, the others serve on, and
// when it is back it is linked again.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	f := newFaulty()
	secrets := NewSecrets(testSecret)
	a := started(t, Config{Name: "a", Secrets: secrets})
	b := started(t, Config{Name: "b", Secrets: secrets, Network: f, Discovery: discovery.Static(a.self.Addr)})
	c := started(t, Config{Name: "c", Secrets: secrets, Discovery: discovery.Static(a.self.Addr, b.self.Addr)})
	x := newExchangers(t)
	x.consume(b)
	x.consume(c)
	for i := range 20 {
		x.wg.Go(func() { x.ask(a, strings.Repeat("a", i+1), 15*time.Second) })
	}
	await(t, 10*time.Second, "requests are answered", func() bool { n, _ := x.seen(); return n > 100 })
	f.setMute(true)
	began := time.Now()
	took := await(t, 6*time.Second, "the link is down", func() bool { return !hasPeer(a, b) })
	before, _ := x.seen()
	await(t, 10*time.Second, "the other serves", func() bool { n, _ := x.seen(); return n > before+100 })
	x.mu.Lock()
	latest, errs := x.latest.Sub(began), fmt.Sprint(x.errs)
	x.mu.Unlock()
	if latest > took+500*time.Millisecond {
		t.Errorf("the last request failed %v after the link was down", latest-took)
	}
	f.setMute(false)
	back := await(t, 15*time.Second, "it is back", func() bool { return hasPeer(a, b) && hasPeer(b, a) && hasPeer(c, b) })
	x.end()
	t.Logf("noticed after %v, last failure after %v, failed: %s; linked again %v after it was back", took, latest, errs, back)
	if took > 5*time.Second {
		t.Errorf("noticed after %v, want 5 s", took)
	}
}
