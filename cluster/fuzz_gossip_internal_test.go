package cluster

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
)

// nowhere is a network without anybody else.
type nowhere struct{}

func (nowhere) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (nowhere) Close() error              { return nil }
func (nowhere) Addr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7946} }

func (nowhere) ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, net.ErrClosed
}

func (nowhere) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { return len(b), nil }

// gossiping starts gossip as a node does, with a secret, and takes what it tells.
// What reaches its port is what the test puts there.
func gossiping(t testing.TB) *port {
	t.Helper()
	s, err := Config{
		Name: "x", Advertise: "10.0.0.1:7946", Bind: "10.0.0.1:7946", Secrets: NewSecrets(testSecret), Logger: quiet(),
	}.settle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := newPort(s, nowhere{}, nowhere{})
	p.refused = func(*RefusedError) {}
	p.hello = func(c caller) { _ = c.Close() }
	p.strangers.known = func(netip.Addr) bool { return false }
	events := make(chan serf.Event, 4096)
	g, err := startGossip(s, &transport{port: p, advertise: netip.MustParseAddrPort("10.0.0.1:7946"), roster: newRoster()}, 1, events)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { drain(events, g.ShutdownCh(), unmoved{}) })
	t.Cleanup(func() { _ = g.Shutdown(); wg.Wait() })
	return p
}

// unmoved is told of members and payloads, and does nothing.
type unmoved struct{}

func (unmoved) member(serf.EventType, serf.Member) {}
func (unmoved) payload([]byte)                     {}

// FuzzPackets lets a stranger send any packet to a node with a secret, none of which
// is opened, and lets a holder of the secret send any message, of which only those
// get to gossip that have passed the checks: they must not make it panic.
func FuzzPackets(f *testing.F) {
	f.Add([]byte(ping))
	f.Add([]byte("\x01\x84\xa5SeqNo\x01\xa6Target\xc4\x04\x0a\x00\x00\x02\xa4Port\xcd\x1f\x0a\xa4Node\xa1y"))
	f.Add([]byte("\x02\x81\xa5SeqNo\x01"))
	f.Add([]byte("\x03\x83\xabIncarnation\x01\xa4Node\xa1x\xa4From\xa1y"))
	f.Add([]byte("\x04\x86\xabIncarnation\x01\xa4Node\xb2y-0000000000000002\xa4Addr\xc4\x04\x0a\x00\x00\x02\xa4Port\xcd\x1f\x0a\xa4Meta\xc0\xa3Vsn\xc4\x06\x01\x05\x02\x02\x05\x04"))
	f.Add([]byte("\x05\x83\xabIncarnation\x01\xa4Node\xa1y\xa4From\xa1y"))
	f.Add([]byte("\x07\x02\x00\x02\x00\x03\x02\x80\x08\x03\x80"))
	f.Add([]byte("\x08\x00\x83\xa5LTime\x01\xa4Node\xa1y\xa5Prune\xc3"))
	f.Add([]byte("\x08\x01\x82\xa5LTime\x01\xa4Node\xa1y"))
	f.Add([]byte("\x08\x03\x84\xa5LTime\x01\xa4Name\xa1e\xa7Payload\xc4\x01p\xa2CC\xc2"))
	f.Add([]byte("\x0b\x81\xa5SeqNo\x01"))
	f.Add([]byte("\x0c\x00\x00\x00\x00"))
	p := gossiping(f)
	e := p.envelope
	f.Fuzz(func(t *testing.T, said []byte) {
		for _, packet := range [][]byte{said, labeled(e, string(said)), append(labeled(e, "\x00"), said...), append(labeled(e, "\x01"), said...), append(labeled(e, "A"), said...)} {
			if got, err := e.open(packet); err == nil {
				t.Fatalf("a stranger's packet was opened: %q", got)
			}
		}
		packet := e.seal(labeled(e, string(said)))
		got, err := e.open(packet)
		if err != nil {
			return
		}
		if !bytes.Equal(got, labeled(e, string(said))) {
			t.Fatalf("%q became %q", said, got)
		}
		select {
		case p.packets <- &memberlist.Packet{Buf: got, From: &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 7946}, Timestamp: time.Now()}:
		case <-time.After(10 * time.Second):
			debug.SetTraceback("all")
			panic("gossip takes no more packets")
		}
	})
}

// closing is a stream that tells when it is closed.
type closing struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (c *closing) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// FuzzGossipStreams lets a stranger say anything on a gossip stream to a node with
// a secret, which gets nowhere, and lets a holder of the secret say it within TLS:
// it must not make gossip panic.
func FuzzGossipStreams(f *testing.F) {
	const label = "\xf4\x06runrig"
	f.Add([]byte(label + ping))
	f.Add([]byte(label + "\x06\x83\xa5Nodes\x00\xacUserStateLen\x00\xa4Join\xc2"))
	f.Add([]byte(label + "\x06\x83\xa5Nodes\x01\xacUserStateLen\x03\xa4Join\xc3" +
		"\x87\xa4Addr\xc4\x04\x0a\x00\x00\x02\xa4Port\xcd\x1f\x0a\xa4Name\xa1y\xa5State\x00\xabIncarnation\x01\xa4Meta\xc0\xa3Vsn\xc4\x06\x01\x05\x02\x02\x05\x04" + "\x02\x80\x00"))
	f.Add([]byte(label + "\x08\x81\xaaUserMsgLen\x01x"))
	f.Add([]byte(label + "\x0a\x00\x00\x00\x00"))
	p := gossiping(f)
	holder := p.tls.forDial(alpnGossip, "10.0.0.1:7946")
	f.Fuzz(func(t *testing.T, said []byte) {
		if err := p.identify(&script{Reader: bytes.NewReader(said)}); err == nil {
			t.Fatal("a stranger got in")
		}
		far, near := net.Pipe()
		stream := &closing{Conn: near, closed: make(chan struct{})}
		go func() {
			if p.identify(stream) != nil {
				_ = stream.Close()
			}
		}()
		c := tls.Client(far, holder)
		defer func() { _ = far.Close() }()
		if err := c.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, c) }()
		_, _ = c.Write(said)
		_ = c.CloseWrite()
		<-stream.closed
	})
}
