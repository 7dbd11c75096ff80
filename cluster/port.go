package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/runrig-go/runrig/cluster/internal/wire"
)

// The first bytes of a stream.
const (
	busMagic        = 0xB5 // a bus stream in plain text; far from memberlist's types, which grow upwards
	tlsRecord       = 0x16 // a TLS handshake
	tlsChangeCipher = 0x14 // what TLS 1.3 sends for old middleboxes
	gossipLabel     = 244  // memberlist's label header
	gossipTypes     = 13   // the last of memberlist's message types that a stream may begin with
)

// After a failed accept or read the port pauses: the process may be out of
// descriptors.
const (
	pauseLeast = 10 * time.Millisecond
	pauseMost  = time.Second
)

// lingerTime bounds how long a stream that was refused stays open for its node to
// read why.
const lingerTime = time.Second

// errSilent says that a stranger sent not even one byte, as health checks of load
// balancers do.
var errSilent = errors.New("no first byte")

// Why a connection is closed although nothing is wrong with it.
var (
	errCrowded       = errors.New("too many connections that have not told who they are")
	errCrowdedGossip = errors.New("too many gossip streams")

	// errSurplus says that gossip has not told of the node, and that many such
	// are linked or remembered.
	errSurplus = fmt.Errorf("it is none of gossip's members, and %d peers are known already", maxUnknown)
)

// A caller is a stream whose node has told who it is.
type caller struct {
	net.Conn
	hello *wire.Greeting
}

// A port owns a node's one port, streams and packets. It tells gossip from bus
// streams, and hands on nobody who has not been authenticated, if there is a
// secret.
type port struct {
	network  Network
	envelope *envelope
	tls      *tlsSetup // nil: plain text
	log      *slog.Logger
	hello    func(caller)        // takes a bus stream; must not block
	refused  func(*RefusedError) // is told of strangers that were refused with a reason; must not block
	refuting func()              // is told that gossip refutes that this node has failed; must not block
	own      wire.Greeting       // tells a plain caller why a node with a secret refuses it

	listener net.Listener
	udp      PacketConn
	bound    netip.AddrPort

	strangers  admission
	handshakes chan struct{}
	streams    chan struct{} // places for gossip streams without a secret
	said       pool          // room for what they say
	gossip     chan net.Conn
	admin      *adminStreams // nil: none are served
	packets    chan *memberlist.Packet

	counts       *counters
	ending       atomic.Bool // the node closes
	crowd        crowd
	strangerLine sometimes
	packetLine   sometimes
	acceptLine   sometimes
	guardLine    sometimes

	ctx   context.Context // ends when the port closes
	close context.CancelFunc
	wg    sync.WaitGroup
}

// newPort makes a port of listeners that are open. serve starts it.
func newPort(s *settings, l net.Listener, udp PacketConn) *port {
	p := &port{
		network:    s.network,
		envelope:   s.envelope,
		tls:        s.tls,
		log:        s.log,
		listener:   l,
		udp:        udp,
		bound:      addrPortOf(l.Addr()),
		handshakes: make(chan struct{}, maxHandshakes),
		streams:    make(chan struct{}, maxGossip),
		said:       pool{left: maxStreams},
		gossip:     make(chan net.Conn),
		packets:    make(chan *memberlist.Packet, 64),
		counts:     new(counters),
	}
	p.envelope.events.dropped = func() { p.counts.behind.Add(1) }
	p.ctx, p.close = context.WithCancel(context.Background())
	return p
}

// addrPortOf returns the address of a TCP address, IPv4 in four bytes.
func addrPortOf(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// place completes another node's address by what only this host knows: the zone
// in which a link-local one is looked for.
func (p *port) place(addr netip.AddrPort) netip.AddrPort {
	if addr.Addr().Zone() != "" {
		return addr
	}
	return inZone(addr, p.bound.Addr().Zone())
}

// inZone returns an address with a zone, if it is of IPv6 and link-local.
func inZone(addr netip.AddrPort, zone string) netip.AddrPort {
	if ip := addr.Addr(); ip.Is6() && ip.IsLinkLocalUnicast() {
		return netip.AddrPortFrom(ip.WithZone(zone), addr.Port())
	}
	return addr
}

// serve accepts until shutdown, which waits for its goroutines.
func (p *port) serve() {
	p.wg.Add(2)
	go p.accept()
	go p.receive()
}

// shutdown closes the port and waits for its goroutines. Streams that were
// handed on are not its own any more. It may be called again.
func (p *port) shutdown() {
	p.close()
	_ = p.listener.Close()
	_ = p.udp.Close()
	p.wg.Wait()
}

func (p *port) accept() {
	defer p.wg.Done()
	wait := backoff{least: pauseLeast, most: pauseMost}
	for {
		c, err := p.listener.Accept()
		switch {
		case p.ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return
		case err != nil:
			p.counts.acceptErrors.Add(1)
			if held, ok := p.acceptLine.pass(); ok {
				p.log.Warn("cannot accept connections", "err", err, "more", held)
			}
			pause(p.ctx, wait.next())
		case !p.strangers.enter(addrPortOf(c.RemoteAddr()).Addr()):
			_ = c.Close()
			p.stranger(c, errCrowded)
		default:
			wait.reset()
			p.wg.Add(1)
			go p.sort(c) // ends within dialTimeout and lingerTime, or when ctx ends
		}
	}
}

// pause waits until d is over or ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
