package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/runrig-go/runrig/bus"
)

// Kind says what an [Event] is.
type Kind string

// The kinds: the first five are asked for ([Config.Authorize]), the others told
// ([Config.Notify]).
const (
	Connect  Kind = "connect"  // a client has connected: its first event
	Register Kind = "register" // it wants to hear what comes to an address
	Send     Kind = "send"     // it sends to one consumer of an address
	Publish  Kind = "publish"  // it publishes to all
	Receive  Kind = "receive"  // a message has come for it

	Registered   Kind = "registered"   // it hears the address, and all linked nodes know
	Unregistered Kind = "unregistered" // it does not any more, by its own wish or as it goes
	Closed       Kind = "closed"       // it is gone: its last event, once
)

// Event is what a client does, or what happens to it.
type Event struct {
	Kind    Kind
	Address string

	// Header is what goes with a message: Authorize may change it, for Send, Publish
	// and Receive. It is nil if there is none.
	Header bus.Header

	// Body is that of Send, Publish and Receive, null if there is none. Authorize may
	// put another one in its place. It must not be changed or kept.
	Body json.RawMessage

	// Request says whether a Send or Receive waits for a reply.
	Request bool

	// Reason says why a client is Closed; nil if it has gone by itself.
	Reason error
}

// authorize asks the hook.
func (s *session) authorize(ctx context.Context, e *Event) (err error) {
	f := s.bridge.config.Authorize
	if f == nil {
		return nil
	}
	defer s.recovered("Authorize", &err)
	return f(ctx, s.client, e)
}

// notify tells the hook.
func (s *session) notify(e Event) {
	f := s.bridge.config.Notify
	if f == nil {
		return
	}
	var err error
	defer s.recovered("Notify", &err)
	f(s.client, e)
}

// toBus makes of a client's body what the bus is given.
func (s *session) toBus(address string, body json.RawMessage) (v any, err error) {
	defer s.recovered("ToBus", &err)
	return s.bridge.config.ToBus(address, body)
}

// toClient makes JSON of a body for clients.
func (b *Bridge) toClient(address string, m *bus.Message) (body json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = b.panicked(p, "ToClient", "address", address)
		}
	}()
	return b.config.ToClient(address, m)
}

// forHook returns a header that a hook may change, if there is one.
func (b *Bridge) forHook(h bus.Header) bus.Header {
	if b.config.Authorize == nil || h == nil {
		return h
	}
	c := make(bus.Header, len(h))
	for k, vs := range h {
		c[k] = slices.Clone(vs)
	}
	return c
}

// recovered makes an error of the panic of a hook, whose business ends there.
func (s *session) recovered(hook string, err *error) {
	if p := recover(); p != nil {
		*err = s.bridge.panicked(p, hook, "client", s.client.Remote)
	}
}

// panicked logs the panic of a hook, and returns the error of its business.
func (b *Bridge) panicked(p any, hook, key string, value any) error {
	b.log.Error("bridge: a function panicked", "function", hook, key, value, "err", p, "stack", string(debug.Stack()))
	return fmt.Errorf("%s panicked", hook)
}
