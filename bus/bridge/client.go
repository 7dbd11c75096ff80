package bridge

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// Client is one connection of a client, as hooks see it. Its methods may be called
// concurrently.
type Client struct {
	// Transport is "tcp", "websocket" or "sockjs".
	Transport string

	// Request is the request that opened a WebSocket; nil for TCP. Its body and
	// context are over.
	Request *http.Request

	// TLS is the state of a TCP connection over TLS, or that of the request; nil
	// without TLS.
	TLS *tls.ConnectionState

	// Remote is the other end of the connection.
	Remote net.Addr

	session *session

	mu      sync.Mutex
	values  map[any]any
	granted map[string]struct{}
}

// Set keeps a value with the client, for as long as it is connected; nil takes it
// away. As with a context, a key has a type of its own.
func (c *Client) Set(key, value any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value == nil {
		delete(c.values, key)
		return
	}
	if c.values == nil {
		c.values = map[any]any{}
	}
	c.values[key] = value
}

// Value returns what Set has kept, nil if nothing.
func (c *Client) Value(key any) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.values[key]
}

// Grant gives the client authorities, which rules ask for: from its next frame, and
// the next message to it, on.
func (c *Client) Grant(authorities ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.granted == nil {
		c.granted = map[string]struct{}{}
	}
	for _, a := range authorities {
		c.granted[a] = struct{}{}
	}
}

// Revoke takes authorities away.
func (c *Client) Revoke(authorities ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range authorities {
		delete(c.granted, a)
	}
}

// Disconnect ends the connection: the client is told the reason where its protocol
// can. It returns at once; [Closed] is told when the client is gone.
func (c *Client) Disconnect(reason error) { c.session.cut(reason, nil) }

// authorized says by which code the client is refused for want of an authority.
func (c *Client) authorized(authority string) code {
	if authority == "" {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch _, ok := c.granted[authority]; {
	case ok:
		return ""
	case len(c.granted) == 0:
		return notLoggedIn
	}
	return accessDenied
}
