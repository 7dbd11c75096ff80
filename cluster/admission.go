package cluster

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
)

// What strangers can make a node hold.
const (
	maxStrangers  = 64 // connections that have not told who they are; half are kept for members' addresses
	maxHandshakes = 8  // TLS handshakes that compute at once
	maxGossip     = 64 // gossip streams at once, where there is no secret
)

// admission limits the connections that have not told yet who they are. Each
// has dialTimeout to do so.
type admission struct {
	known func(netip.Addr) bool // is that the address of a member?

	mu   sync.Mutex
	used int
}

// enter takes a place for a connection from addr, if there is one.
func (a *admission) enter(addr netip.Addr) bool {
	known := a.known(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.used >= maxStrangers || !known && a.used >= maxStrangers/2 {
		return false
	}
	a.used++
	return true
}

// leave gives a place back.
func (a *admission) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used--
}

// gated is a connection under a TLS handshake. It holds one of the places for
// handshakes only while the server computes on a ClientHello, or on the second one
// that it may ask for, and never while it waits for the network: a slow client
// keeps nobody out. Only the handshake's goroutine uses it until the ClientHello is
// answered.
type gated struct {
	net.Conn
	ctx      context.Context
	places   chan struct{}
	inside   bool
	answered bool
}

// Read gives the place back while it waits, and takes one with what it has read.
func (g *gated) Read(b []byte) (int, error) {
	if g.answered {
		return g.Conn.Read(b)
	}
	g.leave()
	n, err := g.Conn.Read(b)
	if n == 0 || err != nil {
		return n, err
	}
	select {
	case g.places <- struct{}{}:
		g.inside = true
		return n, nil
	case <-g.ctx.Done():
		return 0, g.ctx.Err()
	}
}

func (g *gated) leave() {
	if g.inside {
		g.inside = false
		<-g.places
	}
}

// Write gives the place back: the answer has been computed.
func (g *gated) Write(b []byte) (int, error) {
	if !g.answered {
		g.leave()
		g.answered = !asksAgain(b)
	}
	return g.Conn.Write(b)
}

// retryRandom is the random of a ServerHello by which a server asks for another
// ClientHello; see RFC 8446, 4.1.3.
const retryRandom = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91" +
	"\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"

// asksAgain reports whether TLS records are what a server sends to get another
// ClientHello: such a ServerHello, or the record of one byte that may follow it.
func asksAgain(records []byte) bool {
	const head = 5 + 4 + 2 // of the record, of the message, and its version
	if len(records) > head && records[0] == tlsRecord {
		return bytes.HasPrefix(records[head:], []byte(retryRandom))
	}
	return len(records) > 0 && records[0] == tlsChangeCipher
}
