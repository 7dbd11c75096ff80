package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/runrig-go/runrig/cluster/internal/guard"
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

// sort finds out what an accepted stream is and hands it on.
func (p *port) sort(c net.Conn) {
	defer p.wg.Done()
	defer p.strangers.leave()
	unhook := context.AfterFunc(p.ctx, func() { _ = c.Close() })
	defer unhook()
	_ = c.SetDeadline(time.Now().Add(dialTimeout))
	if err := p.identify(c); err != nil {
		p.stranger(c, err)
		if errors.As(err, new(*RefusedError)) {
			linger(c)
		}
		_ = c.Close()
	}
}

// linger lets the other end read what was written, before it is reset because
// there is input that nobody read.
func linger(c net.Conn) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return
	}
	_ = c.SetDeadline(time.Now().Add(lingerTime))
	if half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c, 2*wire.MaxSize)
	}
}

// identify hands a stream on, or says why it is to be closed.
func (p *port) identify(c net.Conn) error {
	var first [1]byte
	if _, err := io.ReadFull(c, first[:]); err != nil {
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	if p.tls != nil {
		return p.identifySecure(c, first[0])
	}
	return p.identifyPlain(c, first[0])
}

func (p *port) identifyPlain(c net.Conn, first byte) error {
	switch {
	case first == busMagic:
		return p.identifyBus(c)
	case first <= gossipTypes || first == gossipLabel:
		return p.identifyGossip(&peeked{Conn: c, first: first})
	case first == adminMagic:
		return p.identifyAdmin(c)
	case first == tlsRecord:
		refuseTLS(c)
		return &RefusedError{Reason: ErrSecret, Peer: c.RemoteAddr().String(), Detail: "it uses TLS, this node has no secret"}
	}
	return fmt.Errorf("%w: first byte %#x", wire.ErrFormat, first)
}

func (p *port) identifySecure(c net.Conn, first byte) error {
	switch first {
	case tlsRecord:
	case busMagic:
		// A stranger learns why, and nothing of this node.
		_ = wire.Write(c, &wire.Greeting{MinVersion: p.own.MinVersion, MaxVersion: p.own.MaxVersion, Verdict: wire.Secret})
		return &RefusedError{Reason: ErrSecret, Peer: c.RemoteAddr().String(), Detail: "it speaks plain text, this node has a secret"}
	case adminMagic:
		refuseAdmin(c, http.StatusUnauthorized, "this node has a secret")
		return &RefusedError{Reason: ErrSecret, Peer: c.RemoteAddr().String(), Detail: "it speaks plain text, this node has a secret"}
	default:
		return fmt.Errorf("%w: first byte %#x, not TLS", wire.ErrFormat, first)
	}
	s, err := p.handshake(&peeked{Conn: c, first: first})
	if err != nil {
		return typedTLS(err, c.RemoteAddr().String())
	}
	switch s.ConnectionState().NegotiatedProtocol {
	case alpnBus:
		return p.identifyBus(s)
	case alpnAdmin:
		return p.identifyAdmin(s)
	}
	g, err := readGossip(s, nil, p.envelope, p.envelope.label, gossipAsks)
	if err != nil {
		return typedTLS(err, c.RemoteAddr().String())
	}
	p.handGossip(g)
	return nil
}

// identifyGossip reads what a gossip stream says in plain text, if there is a place
// for it.
func (p *port) identifyGossip(c net.Conn) error {
	select {
	case p.streams <- struct{}{}:
	default:
		return errCrowdedGossip
	}
	free := sync.OnceFunc(func() { <-p.streams })
	g, err := readGossip(c, &p.said, p.envelope, p.envelope.label, gossipAsks)
	if err != nil {
		free()
		return err
	}
	p.handGossip(&counted{Conn: g, free: free})
	return nil
}

// handshake is the server's side of TLS.
func (p *port) handshake(c net.Conn) (*secured, error) {
	ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
	defer cancel()
	gate := &gated{Conn: c, ctx: ctx, places: p.handshakes}
	defer gate.leave()
	s := secure(gate, p.tls.server, tls.Server)
	return s, p.shake(ctx, s)
}

// shake performs the handshake of either side. It may call functions of
// Config.TLS: one that panics ends the stream.
func (p *port) shake(ctx context.Context, s *secured) error {
	err := guard.Call("a function of Config.TLS", func() error { return s.HandshakeContext(ctx) })
	if stack := guard.Stack(err); stack != nil {
		if held, ok := p.guardLine.pass(); ok {
			p.log.Error("TLS handshake failed", append(stack, "err", err, "more", held)...)
		}
	}
	return err
}

// identifyBus reads the HELLO of a bus stream.
func (p *port) identifyBus(c net.Conn) error {
	hello, err := wire.Read(c)
	if err != nil {
		return typedTLS(fmt.Errorf("hello: %w", err), c.RemoteAddr().String())
	}
	if err := wellFormed(hello); err != nil {
		return err
	}
	p.hello(caller{c, hello})
	return nil
}

// handGossip gives a stream to memberlist, which sets its own deadlines.
func (p *port) handGossip(c net.Conn) {
	_ = c.SetDeadline(time.Time{})
	select {
	case p.gossip <- c:
	case <-p.ctx.Done():
		_ = c.Close()
	}
}

// receive hands on the packets that are from nodes. What they hold is copied out
// of one scratch buffer.
func (p *port) receive() {
	defer p.wg.Done()
	scratch := make([]byte, 64<<10)
	for {
		n, from, err := p.udp.ReadFromUDPAddrPort(scratch)
		if p.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			pause(p.ctx, pauseLeast)
			continue
		}
		labeled, err := p.envelope.open(scratch[:n])
		if err != nil {
			p.badPacket(from, err)
			continue
		}
		packet := &memberlist.Packet{
			Buf:       labeled,
			From:      net.UDPAddrFromAddrPort(netip.AddrPortFrom(from.Addr().Unmap(), from.Port())),
			Timestamp: time.Now(),
		}
		select {
		case p.packets <- packet:
		case <-p.ctx.Done():
			return
		}
	}
}

// badPacket counts and logs a packet that was dropped.
func (p *port) badPacket(from netip.AddrPort, err error) {
	p.counts.badPackets.Add(1)
	if held, ok := p.packetLine.pass(); ok {
		p.log.Warn("dropped a packet", "address", from.String(), "err", err, "more", held)
	}
}

// dial opens a stream of the given protocol to addr, encrypted if there is a
// secret. It waits until ctx ends, or dialTimeout.
func (p *port) dial(ctx context.Context, protocol string, addr netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if p.bound.Addr().IsLoopback() && !addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("this node listens on the loopback only, at %v, and reaches no other host: set Config.Secrets, or Config.Bind if it is set", p.bound)
	}
	c, err := p.network.Dial(ctx, p.bound.Addr(), p.place(addr))
	if err != nil {
		return nil, err
	}
	if p.tls != nil {
		s := secure(c, p.tls.forDial(protocol, addr.String()), tls.Client)
		if err := p.shake(ctx, s); err != nil {
			_ = c.Close()
			return nil, typedTLS(err, addr.String())
		}
		return s, nil
	}
	if protocol == alpnBus {
		_ = c.SetWriteDeadline(time.Now().Add(dialTimeout))
		if _, err := c.Write([]byte{busMagic}); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return c, nil
}

// peeked gives back the byte that was read to tell what a stream is.
type peeked struct {
	net.Conn
	first byte
	read  bool
}

// Read returns the first byte alone, then reads on.
func (p *peeked) Read(b []byte) (int, error) {
	if p.read || len(b) == 0 {
		return p.Conn.Read(b)
	}
	p.read = true
	b[0] = p.first
	return 1, nil
}

// counted gives a place back when it is closed.
type counted struct {
	net.Conn
	free func()
}

// Close closes the stream.
func (c *counted) Close() error {
	defer c.free()
	return c.Conn.Close()
}
