package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport is the port as memberlist sees it.
type transport struct {
	*port
	advertise netip.AddrPort
	roster    *roster
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// FinalAdvertiseAddr returns the advertised address. memberlist wants IPv4 in
// four bytes, or addresses compare unequal.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// WriteTo sends a packet, which has its label, to addr, an IP address and port. It
// returns when it began to send.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, fmt.Errorf("send a packet: %w", err)
	}
	packet := t.envelope.seal(b)
	sent := time.Now() // not after: the answer may be here before this goroutine goes on
	_, err = t.udp.WriteToUDPAddrPort(packet, t.place(to))
	return sent, err
}

// WriteToAddress sends a packet.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// PacketCh delivers received packets.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh delivers accepted gossip streams.
func (t *transport) StreamCh() <-chan net.Conn { return t.gossip }

// DialTimeout opens a gossip stream. It gives up when the port closes.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	c, err := t.dial(ctx, alpnGossip, to)
	if err != nil {
		t.counts.dialErrors.Add(1)
		return nil, err
	}
	return &dialled{Conn: c, envelope: t.envelope}, nil
}

// DialAddressTimeout opens a gossip stream.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// Shutdown closes the port. memberlist calls it first when it shuts down.
func (t *transport) Shutdown() error {
	t.shutdown()
	return nil
}
