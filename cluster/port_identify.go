package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/runrig-go/runrig/cluster/internal/guard"
	"github.com/runrig-go/runrig/cluster/internal/wire"
)

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
