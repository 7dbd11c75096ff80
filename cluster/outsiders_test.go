package cluster_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
)

// An answer of discovery of which a part cannot be resolved is not "nobody
// there": the node must not say alone, and must tell the cause.
func TestPartlyBadAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, j, _ := alone(t, discovery.ProviderFunc(func(context.Context) ([]string, error) {
			return []string{"10.1.0.1:7946", "peer.without.port"}, nil // itself, and one that cannot be resolved
		}))
		time.Sleep(time.Minute)
		if got := n.State(); got != cluster.StateJoining {
			t.Errorf("state %v, want joining", got)
		}
		if j.count("WARN", "peer.without.port") == 0 {
			t.Error("the cause was not logged")
		}
	})
}

// A node that lost all others while discovery fails is not alone.
func TestNotAloneWhileDiscoveryFails(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	clustertest.Run(t, 2, func(t *testing.T, c *clustertest.Cluster) {
		broken.Store(true)
		c.Kill(1)
		time.Sleep(2 * time.Minute)
		if got := c.Node(0).State(); got == cluster.StateAlone {
			t.Errorf("state %v while discovery fails", got)
		}
	}, clustertest.WithConfig(func(_ int, conf *cluster.Config) {
		real := conf.Discovery
		conf.Discovery = discovery.ProviderFunc(func(ctx context.Context) ([]string, error) {
			if broken.Load() {
				return nil, fmt.Errorf("registry on fire")
			}
			return real.Peers(ctx)
		})
	}))
}

// Tags that Join takes must fit a HELLO.
func TestManyTags(t *testing.T) {
	t.Parallel()
	tags := map[string]string{}
	for i := range 70 {
		tags[fmt.Sprintf("%02d", i)] = ""
	}
	a, _ := join(t, cluster.Config{})
	eb := newBus()
	b, err := cluster.Join(t.Context(), eb, cluster.Config{Bind: "127.0.0.1:0", Tags: tags, Logger: logger(), Discovery: discovery.Static(a.Self().Addr)})
	if err != nil {
		return // refused at once: right
	}
	t.Cleanup(func() { _ = b.Close() })
	for end := time.Now().Add(3 * time.Second); linked(a) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("Join took 70 tags, but the node never links: garbage at the other: %d", a.Stats().Garbage)
		}
	}
}

// A node with a secret tells strangers nothing of itself.
func TestStrangerLearnsNothing(t *testing.T) {
	t.Parallel()
	n, _ := join(t, cluster.Config{Name: "payroll-db", Cluster: "acme-production", Tags: map[string]string{"zone": "internal-tag"}, Secrets: cluster.NewSecrets(secret)})
	c, err := net.Dial("tcp", n.Self().Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte{0xB5})
	_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
	b, _ := io.ReadAll(c)
	for _, told := range []string{"payroll-db", "acme-production", "internal-tag", n.Self().Addr} {
		if strings.Contains(string(b), told) {
			t.Errorf("one byte from a stranger made the node tell %q", told)
		}
	}
}

// A TLS configuration without an authority of the user's own would let in
// whoever holds a certificate of any public one.
func TestTLSWithoutAuthority(t *testing.T) {
	t.Parallel()
	pub, key, _ := ed25519.GenerateKey(rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, _ := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	conf := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	n, err := cluster.Join(t.Context(), newBus(), cluster.Config{Bind: "127.0.0.1:0", Secrets: cluster.NewSecrets(secret), TLS: conf, Logger: logger()})
	if err == nil {
		_ = n.Close()
		t.Error("joined: clients are verified against the system's roots, that is, any public authority")
	}
}

// balanced is a host whose dials to one address go to the hosts in turn, as
// those to a load balancer, a virtual IP or a name with several hosts behind it.
type balanced struct {
	cluster.Network
	vip  netip.AddrPort
	to   []netip.AddrPort
	next *atomic.Int32
}

func (b balanced) Dial(ctx context.Context, local netip.Addr, addr netip.AddrPort) (net.Conn, error) {
	if addr == b.vip {
		addr = b.to[int(b.next.Add(1)-1)/2%len(b.to)] // a question and what follows it lead to one
	}
	return b.Network.Dial(ctx, local, addr)
}

// An address that led to the node itself once may lead to others later.
func TestVirtualAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := clustertest.NewNetwork(1)
		log := slog.New(slog.DiscardHandler)
		hosts := []netip.AddrPort{netip.MustParseAddrPort("10.1.0.1:7946"), netip.MustParseAddrPort("10.1.0.2:7946")}
		vip := netip.MustParseAddrPort("10.9.9.9:7946")
		var nodes []*cluster.Node
		for i, h := range hosts {
			// Each reaches itself first.
			b := balanced{network.Host(h.Addr()), vip, []netip.AddrPort{hosts[i], hosts[1-i]}, new(atomic.Int32)}
			n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(log)), cluster.Config{
				Name: "n", Bind: h.String(), Network: b, Insecure: true, Discovery: discovery.Static(vip.String()), Logger: log})
			if err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, n)
		}
		defer time.Sleep(2 * time.Minute)
		for _, n := range nodes {
			defer n.Close()
		}
		time.Sleep(time.Hour)
		if linked(nodes[0]) != 1 {
			t.Errorf("islands after an hour: %v is %v, %v is %v", nodes[0].Self(), nodes[0].State(), nodes[1].Self(), nodes[1].State())
		}
	})
}

// A link that breaks while a node drains is dialled again: handlers may still
// send and request.
func TestLinkBreaksWhileDraining(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 2, func(t *testing.T, c *clustertest.Cluster) {
		began := make(chan struct{})
		if _, err := c.Node(1).Bus.Consume("slow", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			close(began)
			time.Sleep(10 * time.Second)
			// what DESIGN allows: running handlers may still send and request
			_, err := c.Node(1).Bus.Request(ctx, "other", "x")
			if err != nil {
				t.Errorf("request of a handler of a node that drains: %v", err)
			}
			return nil
		})); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Node(0).Bus.Consume("other", bus.HandlerFunc(func(context.Context, *bus.Message) error { return nil })); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := c.Node(0).Bus.Send(t.Context(), "slow", "x"); err != nil {
			t.Fatal(err)
		}
		<-began
		done := make(chan struct{})
		go func() { defer close(done); _ = c.Node(1).Close() }()
		time.Sleep(2 * time.Second)
		c.Reset(0, 1)
		<-done
	})
}

// A consumer that appears on a new node while the last one drains gets what was
// sent back.
func TestConsumerAppearsWhileDraining(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 2, func(t *testing.T, c *clustertest.Cluster) { // 0 sends, 1 consumes
		var handled atomic.Int32
		slow := func(ctx context.Context, m *bus.Message) error {
			time.Sleep(3 * time.Second)
			handled.Add(1)
			return nil
		}
		if _, err := c.Node(1).Bus.Consume("x", bus.HandlerFunc(slow)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for range 3 {
			if err := c.Node(0).Bus.Send(t.Context(), "x", "m"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond)
		go func() { _ = c.Node(1).Close() }()
		time.Sleep(100 * time.Millisecond)
		go func() { _ = c.Node(0).Close() }() // the sender leaves too: a stop of the whole service
		time.Sleep(time.Second)
		at := c.Start() // its successor
		if _, err := c.Node(at).Bus.Consume("x", bus.HandlerFunc(slow)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Second)
		if handled.Load() != 3 {
			t.Errorf("%d of 3 handled; deadletters %d; node 2 peers %v", handled.Load(), c.Node(0).Bus.Stats().DeadLetters, c.Node(at).Bus.Peers())
		}
	})
}

// Packets of garbage are counted, with a secret and without.
func TestGarbagePackets(t *testing.T) {
	t.Parallel()
	for name, secrets := range map[string]cluster.Secrets{"plain": {}, "secret": cluster.NewSecrets(secret)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, _ := join(t, cluster.Config{Secrets: secrets})
			c, err := net.Dial("udp", n.Self().Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for end := time.Now().Add(5 * time.Second); n.Stats().BadPackets == 0; time.Sleep(10 * time.Millisecond) {
				_, _ = c.Write([]byte("GET / HTTP/1.1"))
				if time.Now().After(end) {
					t.Fatal("packets of garbage are not counted")
				}
			}
		})
	}
}
