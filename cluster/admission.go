package cluster

import (
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
// handshakes only while the server computes its answer to a ClientHello that is
// here in full, never while it waits for the network: a slow client keeps
// nobody out.
type gated struct {
	net.Conn
	places chan struct{}
	inside bool // touched by the handshake's goroutine only
}

func (g *gated) enter(ctx context.Context) error {
	select {
	case g.places <- struct{}{}:
		g.inside = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
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
	g.leave()
	return g.Conn.Write(b)
}
