package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// A Network is what a node sees of the network. It exists for tests, see package
// clustertest; a program leaves [Config].Network nil and gets the system's. Its
// methods may be called concurrently.
type Network interface {
	// Listen opens streams and packets at the same port of addr. Port 0 picks
	// one that is free for both. The caller closes both.
	Listen(ctx context.Context, addr netip.AddrPort) (net.Listener, PacketConn, error)

	// Dial opens a stream to addr, from the IP address local unless that is
	// unspecified or invalid. It waits until ctx ends.
	Dial(ctx context.Context, local netip.Addr, addr netip.AddrPort) (net.Conn, error)

	// Route returns the local IP address from which packets to other hosts go,
	// which a node that is bound to no particular address advertises.
	Route() (netip.Addr, error)
}

// A PacketConn sends and receives packets, as [net.UDPConn] does.
type PacketConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	Close() error
}

// packetBuffer is asked of the system for received packets, in bytes: bursts of
// gossip are larger than the usual default.
const packetBuffer = 2 << 20

// systemNetwork is the real one.
type systemNetwork struct{}

func (systemNetwork) Listen(ctx context.Context, addr netip.AddrPort) (net.Listener, PacketConn, error) {
	const tries = 10 // a free TCP port may be taken for UDP
	for try := 1; ; try++ {
		l, p, err := listenBoth(ctx, addr)
		if err == nil || addr.Port() != 0 || try == tries {
			return l, p, err
		}
	}
}

func listenBoth(ctx context.Context, addr netip.AddrPort) (net.Listener, PacketConn, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr.String())
	if err != nil {
		return nil, nil, err
	}
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	p, err := lc.ListenPacket(ctx, "udp", netip.AddrPortFrom(addr.Addr(), port).String())
	if err != nil {
		_ = l.Close()
		return nil, nil, err
	}
	udp := p.(*net.UDPConn)
	_ = udp.SetReadBuffer(packetBuffer) // what the system allows
	return l, udp, nil
}

func (systemNetwork) Dial(ctx context.Context, local netip.Addr, addr netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1} // links and gossip have their own heartbeats
	if local.IsValid() && !local.IsUnspecified() && local.Is4() == addr.Addr().Is4() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return d.DialContext(ctx, "tcp", addr.String())
}

// Route finds the address by IPv4, else by IPv6, where a host that has only one
// of them has a route. One that leads no further than the link is no answer.
func (systemNetwork) Route() (netip.Addr, error) {
	var errs []error
	for _, to := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} { // reserved for documentation; they need not exist
		ip, err := routeTo(to)
		if err == nil && ip.IsGlobalUnicast() {
			return ip, nil
		}
		if err == nil {
			err = fmt.Errorf("the route to other hosts begins at %v", ip)
		}
		errs = append(errs, err)
	}
	return netip.Addr{}, fmt.Errorf("no route to other hosts: %w", errors.Join(errs...))
}

// routeTo opens an unconnected UDP socket towards an address: the system picks
// the local address, no packet is sent.
func routeTo(addr string) (netip.Addr, error) {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return netip.Addr{}, err
	}
	defer func() { _ = c.Close() }()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// dialTimeout bounds a dial with its handshake: of a link, a question, or gossip.
const dialTimeout = 3 * time.Second
