package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/cluster/internal/wire"
	"github.com/runrig-go/runrig/discovery"
)

// What a stranger does raises one counter by one, and no other.
func TestStrangersAreCounted(t *testing.T) {
	t.Parallel()
	says := func(text string) func(net.Conn) {
		return func(c net.Conn) { _, _ = io.WriteString(c, text) }
	}
	ends := func(text string) func(net.Conn) {
		return func(c net.Conn) { says(text)(c); _ = c.(*net.TCPConn).CloseWrite() }
	}
	anonymous := func(c net.Conn) {
		_ = tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpnBus}}).Handshake()
	}
	for _, c := range []struct {
		what          string
		do            func(net.Conn)
		plain, secret Stats // the count without and with a secret
	}{
		{"nothing", ends(""), Stats{Silent: 1}, Stats{Silent: 1}},
		{"nothing, and waits", says(""), Stats{Silent: 1}, Stats{Silent: 1}},
		{"another protocol", says("GET / HTTP/1.1\r\n\r\n"), Stats{Garbage: 1}, Stats{Garbage: 1}},
		{"half a greeting, and waits", says("\xb5\x20\x0a"), Stats{TimedOut: 1}, Stats{Refused: Refusals{Secret: 1}}},
		{"half a greeting", ends("\xb5\x20\x0a"), Stats{Ended: 1}, Stats{Refused: Refusals{Secret: 1}}},
		{"a greeting of 4 GiB", says("\xb5\xff\xff\xff\xff\x0f"), Stats{Garbage: 1}, Stats{Refused: Refusals{Secret: 1}}},
		{"half a TLS record, and waits", says("\x16\x03\x01\x02\x00\x01"), Stats{Refused: Refusals{Secret: 1}}, Stats{TimedOut: 1}},
		{"half a TLS record", ends("\x16\x03\x01\x02\x00\x01"), Stats{Refused: Refusals{Secret: 1}}, Stats{Ended: 1}},
		{"TLS without a certificate", anonymous, Stats{Refused: Refusals{Secret: 1}}, Stats{Refused: Refusals{Secret: 1}}},
		{"half a gossip message, and waits", says("\xf4\x06run"), Stats{TimedOut: 1}, Stats{Garbage: 1}},
		{"a gossip state of 4 GiB", says("\xf4\x06runrig\x06\x81\xa5Nodes\xce\xff\xff\xff\xff"), Stats{Garbage: 1}, Stats{Garbage: 1}},
	} {
		for name, conf := range map[string]Config{"plain": {}, "secret": {Secrets: NewSecrets(testSecret)}} {
			t.Run(name+"/"+c.what, func(t *testing.T) {
				t.Parallel()
				n := started(t, conf)
				conn, err := net.Dial("tcp", n.Self().Addr)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				c.do(conn)
				_, _ = io.Copy(io.Discard, conn)
				want := c.plain
				if name == "secret" {
					want = c.secret
				}
				awaitStats(t, n, want)
			})
		}
	}
}

// awaitStats waits until a node's counters are these.
func awaitStats(t *testing.T, n *Node, want Stats) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); n.Stats() != want; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("counted %+v, want %+v", n.Stats(), want)
		}
	}
}

// What a node says in its greeting may be refused, for one reason, that is counted.
func TestGreetingsAreCounted(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		change func(*wire.Greeting)
		want   Refusals
	}{
		"another cluster":         {func(g *wire.Greeting) { g.Cluster = "x" }, Refusals{Cluster: 1}},
		"a version to come":       {func(g *wire.Greeting) { g.MinVersion, g.MaxVersion = 9, 9 }, Refusals{Version: 1}},
		"meant for a predecessor": {func(g *wire.Greeting) { g.Target = 1 }, Refusals{Stale: 1}},
		"a question and no dial":  {func(g *wire.Greeting) { g.Attempt = 0 }, Refusals{}},
		"the node's own boot id":  {nil, Refusals{Self: 1}},
		"after a later one":       {func(g *wire.Greeting) { g.Attempt = 1 }, Refusals{Stale: 1}},
		"after itself: a replay":  {func(*wire.Greeting) {}, Refusals{Stale: 1}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n, other := started(t, Config{}), started(t, Config{})
			hello := other.peers.own
			hello.Attempt = 2
			if c.change == nil {
				c.change = func(g *wire.Greeting) { g.Boot = n.self.Boot }
			}
			dial := func() error {
				conn, _, err := ask(context.Background(), other.port, netip.MustParseAddrPort(n.Self().Addr), hello)
				if conn != nil {
					_ = conn.Close()
				}
				return err
			}
			if strings.HasPrefix(what, "after") {
				if err := dial(); err != nil {
					t.Fatal(err)
				}
			}
			c.change(&hello)
			if err := dial(); !errors.As(err, new(*RefusedError)) {
				t.Errorf("the dial ended with %v, want a refusal", err)
			}
			awaitStats(t, n, Stats{Refused: c.want})
		})
	}
}

// What a stranger recorded of a node's way in opens nothing when it is sent again.
func TestReplay(t *testing.T) {
	t.Parallel()
	a := started(t, Config{Secrets: NewSecrets(testSecret)})
	tap := newTap(t, a.self.Addr)
	b := started(t, Config{Secrets: NewSecrets(testSecret), Discovery: discovery.Static(tap.addr)})
	await(t, 10*time.Second, "the nodes are linked", func() bool { return hasPeer(a, b) })
	before := a.Stats()
	said := tap.said()
	if len(said) == 0 {
		t.Fatal("nothing was recorded")
	}
	for _, stream := range said {
		conn, err := net.Dial("tcp", a.self.Addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = conn.Write(stream)
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}
	want := before
	want.Garbage += uint64(len(said))
	awaitStats(t, a, want)
	if !hasPeer(a, b) {
		t.Error("the link is down")
	}
}

// A tap passes streams on to an address, and keeps what comes from who dials.
type tap struct {
	addr string

	mu      sync.Mutex
	streams []*bytes.Buffer
}

func newTap(t *testing.T, to string) *tap {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{addr: l.Addr().String()}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			kept := new(bytes.Buffer)
			p.mu.Lock()
			p.streams = append(p.streams, kept)
			p.mu.Unlock()
			wg.Go(func() { _, _ = io.Copy(near, far); _ = near.Close() })
			wg.Go(func() { _, _ = io.Copy(io.MultiWriter(far, &locked{p, kept}), near); _ = far.Close() })
		}
	})
	return p
}

// locked writes under the tap's lock.
type locked struct {
	tap *tap
	to  *bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.tap.mu.Lock()
	defer l.tap.mu.Unlock()
	return l.to.Write(b)
}

// said returns what was said on each stream.
func (p *tap) said() (all [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.streams {
		if s.Len() > 0 {
			all = append(all, bytes.Clone(s.Bytes()))
		}
	}
	return all
}

// A provider that fails, and an address that is none, are counted.
func TestDiscoveryErrorsAreCounted(t *testing.T) {
	t.Parallel()
	for what, p := range map[string]discovery.Provider{
		"fails": discovery.ProviderFunc(func(context.Context) ([]string, error) { return nil, errors.New("down") }),
		"lies":  discovery.Static("no address"),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n := started(t, Config{Discovery: p})
			if got := n.Stats(); got.DiscoveryErrors == 0 || got != (Stats{DiscoveryErrors: got.DiscoveryErrors}) {
				t.Errorf("counted %+v", got)
			}
		})
	}
}

// What gossip says it dropped is counted by why.
func TestGossipDropsAreCounted(t *testing.T) {
	t.Parallel()
	counts := new(counters)
	log := newLogBridge(quiet(), counts, new(atomic.Bool), func() {})
	log.Printf("[WARN] memberlist: handler queue full, dropping message (%d) from=%s", 3, "x")
	log.Printf("[WARN] serf: %s queue depth (%d) exceeds limit (%d), dropping messages!", "Event", 9000, 4096)
	log.Printf("[WARN] serf: received old event %s from time %d (current: %d)", "x", 1, 900)
	log.Printf("[DEBUG] memberlist: Stream connection from=%s", "x")
	if got, want := counts.load(), (Stats{GossipBehind: 2, GossipLate: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	h := newHub(counts)
	ctx, cancel := context.WithCancel(t.Context())
	defer h.close()
	defer cancel()
	_ = h.listen(ctx, func() []Event { return nil }) // and reads nothing
	for i := range maxTroubles + 10 {
		h.publish(Refused{&RefusedError{Reason: ErrSecret, Peer: string(rune('a' + i))}})
	}
	if got := counts.load().EventsDropped; got < 8 || got > 10 { // one or two may have left the queue
		t.Errorf("%d refusals were dropped, want 9", got)
	}
}
