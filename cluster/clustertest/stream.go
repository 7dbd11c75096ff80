package clustertest

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/cluster"
)

const (
	acceptQueue = 64   // streams that a listener has not accepted yet
	packetQueue = 1024 // packets that a host has not read yet; more are lost
)

// A stream is one connection between two hosts.
type stream struct {
	net       *Network
	a, b      netip.Addr // who dialled, who accepted
	near, far *bustest.Conn

	mu   sync.Mutex
	open int // ends that are not closed
}

// connect makes a stream from a host to a listener.
func (n *Network) connect(h *host, l *listener) (near, far *conn, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.dead || l.host.dead {
		return nil, nil, errNoSuchHost
	}
	h.dials = (h.dials + 1) % 10000
	from := net.TCPAddrFromAddrPort(netip.AddrPortFrom(h.ip, 50000+h.dials))
	to := net.TCPAddrFromAddrPort(l.addr)
	s := &stream{net: n, a: h.ip, b: l.addr.Addr(), open: 2}
	s.near, s.far = bustest.Pipe(bustest.WithAddrs(from, to))
	s.near.SetDelay(n.latency)
	s.far.SetDelay(n.latency)
	for _, d := range []direction{{s.a, s.b}, {s.b, s.a}} {
		s.hold(d.from, d.to, n.stalls(d))
	}
	n.streams[s] = true
	return &conn{Conn: s.near, stream: s}, &conn{Conn: s.far, stream: s}, nil
}

// hold stalls or resumes a direction, if it is one of the stream's.
func (s *stream) hold(from, to netip.Addr, stall bool) {
	var end *bustest.Conn
	switch (direction{from, to}) {
	case direction{s.a, s.b}:
		end = s.near
	case direction{s.b, s.a}:
		end = s.far
	default:
		return
	}
	if stall {
		end.Stall()
	} else {
		end.Resume()
	}
}

// A conn is one end of a stream.
type conn struct {
	*bustest.Conn
	stream *stream
	once   sync.Once
}

// Close closes the end.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.stream.mu.Lock()
		c.stream.open--
		gone := c.stream.open == 0
		c.stream.mu.Unlock()
		if gone {
			c.stream.net.mu.Lock()
			delete(c.stream.net.streams, c.stream)
			c.stream.net.mu.Unlock()
		}
	})
	return c.Conn.Close()
}

// drop closes both ends of a stream that was not accepted.
func (c *conn) drop(far *conn) {
	_ = far.Close()
	_ = c.Close()
}

// A listener accepts streams.
type listener struct {
	host  *host
	addr  netip.AddrPort
	queue chan *conn
	done  chan struct{}
	once  sync.Once
}

// Accept waits for a stream.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Addr returns the address.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

// Close frees the port; streams that were not accepted are closed.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.host.net.mu.Lock()
		delete(l.host.listeners, l.addr.Port())
		l.host.net.mu.Unlock()
		close(l.done)
	})
	for {
		select {
		case c := <-l.queue:
			_ = c.Close()
		default:
			return nil
		}
	}
}

type packet struct {
	data []byte
	from netip.AddrPort
}

// packets are a port for packets.
type packets struct {
	host  *host
	addr  netip.AddrPort
	queue chan packet
	done  chan struct{}
	once  sync.Once
}

var _ cluster.PacketConn = (*packets)(nil)

// ReadFromUDPAddrPort waits for a packet.
func (p *packets) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case got := <-p.queue:
		return copy(b, got.data), got.from, nil
	case <-p.done:
		return 0, netip.AddrPort{}, &net.OpError{Op: "read", Net: "udp", Err: net.ErrClosed}
	}
}

// WriteToUDPAddrPort sends a packet, which may get lost without an error.
func (p *packets) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-p.done:
		return 0, &net.OpError{Op: "write", Net: "udp", Err: net.ErrClosed}
	default:
	}
	at, delays := p.host.net.fate(p.addr, to)
	if at == nil {
		return len(b), nil
	}
	one := packet{append([]byte(nil), b...), p.addr}
	for _, d := range delays {
		time.AfterFunc(d, func() { at.arrive(one) })
	}
	return len(b), nil
}

func (p *packets) arrive(one packet) {
	if p.host.net.wait(p.host.ip, func() { p.arrive(one) }) {
		return
	}
	select {
	case <-p.done:
	case p.queue <- one:
	default: // a full socket buffer
	}
}

// Close frees the port.
func (p *packets) Close() error {
	p.once.Do(func() {
		p.host.net.mu.Lock()
		delete(p.host.packets, p.addr.Port())
		p.host.net.mu.Unlock()
		close(p.done)
	})
	return nil
}
