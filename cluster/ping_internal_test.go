package cluster

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/discovery"
)

// mute is the system's network, from which no packet goes out, as with a
// firewall that forgets UDP.
type mute struct{ systemNetwork }

func (m mute) Listen(ctx context.Context, addr netip.AddrPort) (net.Listener, PacketConn, error) {
	l, p, err := m.systemNetwork.Listen(ctx, addr)
	return l, mutePackets{p}, err
}

type mutePackets struct{ PacketConn }

func (mutePackets) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { return len(b), nil }

func TestPing(t *testing.T) {
	t.Parallel()
	secrets := NewSecrets(testSecret)
	a := started(t, Config{Name: "a", Secrets: secrets})
	peers := discovery.Static(a.Self().Addr)
	b := started(t, Config{Name: "b", Secrets: secrets, Discovery: peers})
	c := started(t, Config{Name: "c", Secrets: secrets, Discovery: peers, Network: mute{}})
	if len(c.eb.Peers()) == 0 {
		t.Error("without packets no link comes up")
	}
	answers := func(from, to *Node) (err error) {
		for range 10 { // a packet may be lost
			if _, err = from.Ping(to.Self()); err == nil {
				return nil
			}
		}
		return err
	}
	for _, pair := range [][2]*Node{{a, b}, {b, a}} {
		if err := answers(pair[0], pair[1]); err != nil {
			t.Errorf("Ping: %v", err)
		}
	}
	for _, pair := range [][2]*Node{{a, c}, {c, a}} {
		_, err := pair[0].Ping(pair[1].Self())
		if err == nil || !strings.Contains(err.Error(), pair[1].Self().String()+" at "+pair[1].Self().Addr) {
			t.Errorf("Ping without packets: %v", err)
		}
	}
	if _, err := a.Ping(Member{}); err == nil {
		t.Error("Ping of nobody answered")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := a.Ping(b.Self()); err == nil {
		t.Error("Ping of a node that has left answered")
	}
	if _, err := b.Ping(a.Self()); err == nil {
		t.Error("Ping by a node that has left was answered")
	}
}
