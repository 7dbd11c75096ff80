package cluster

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/discovery"
)

// A sniffer is the system's network, which keeps a copy of all that is sent.
type sniffer struct {
	systemNetwork
	mu      sync.Mutex
	seen    bytes.Buffer
	packets [][]byte
}

func (s *sniffer) keep(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.Write(b)
}

func (s *sniffer) keepPacket(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets = append(s.packets, bytes.Clone(b))
}

// takePackets returns the packets that were sent since it was called last.
func (s *sniffer) takePackets() (all [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, s.packets = s.packets, nil
	return all
}

func (s *sniffer) saw(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Contains(s.seen.Bytes(), []byte(text))
}

func (s *sniffer) Listen(ctx context.Context, addr netip.AddrPort) (net.Listener, PacketConn, error) {
	l, p, err := s.systemNetwork.Listen(ctx, addr)
	return sniffedListener{l, s}, sniffedPackets{p, s}, err
}

func (s *sniffer) Dial(ctx context.Context, local netip.Addr, addr netip.AddrPort) (net.Conn, error) {
	c, err := s.systemNetwork.Dial(ctx, local, addr)
	if err != nil {
		return nil, err
	}
	return sniffedConn{c, s}, nil
}

type sniffedListener struct {
	net.Listener
	by *sniffer
}

func (l sniffedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return sniffedConn{c, l.by}, nil
}

type sniffedConn struct {
	net.Conn
	by *sniffer
}

func (c sniffedConn) Write(b []byte) (int, error) { c.by.keep(b); return c.Conn.Write(b) }

type sniffedPackets struct {
	PacketConn
	by *sniffer
}

func (p sniffedPackets) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	p.by.keep(b)
	p.by.keepPacket(b)
	return p.PacketConn.WriteToUDPAddrPort(b, to)
}

// With a secret nothing that is said can be read on the wire, whichever way it
// goes; without one all can, which shows that the sniffer would see it.
func TestSniff(t *testing.T) {
	t.Parallel()
	for what, secrets := range map[string]Secrets{"plain": {}, "secret": NewSecrets(testSecret)} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			net := new(sniffer)
			a := started(t, Config{Name: "sniffed-one", Network: net, Secrets: secrets})
			b := started(t, Config{Name: "sniffed-two", Tags: map[string]string{"zone": "sniffed-zone"}, Network: net, Secrets: secrets,
				Discovery: discovery.Static(a.Self().Addr)})
			got := make(chan bus.Via, 2)
			if _, err := a.eb.Consume("sniffed-address", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
				got <- m.Via()
				return nil
			})); err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(5 * time.Second)
			for b.eb.Send(t.Context(), "sniffed-address", "sniffed-body") != nil && time.Now().Before(deadline) {
				<-time.After(time.Millisecond) // the route is on its way
			}
			if err := b.eb.Publish(t.Context(), "sniffed-address", "sniffed-notice", bus.Gossip()); err != nil {
				t.Error(err)
			}
			<-got
			<-got
			for _, text := range []string{"sniffed-one", "sniffed-zone", "sniffed-address", "sniffed-body", "sniffed-notice"} {
				if saw := net.saw(text); saw != (what == "plain") {
					t.Errorf("%q was seen on the wire: %v", text, saw)
				}
			}
		})
	}
}
