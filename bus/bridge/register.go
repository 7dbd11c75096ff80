package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// registration is an address that a client hears, as a consumer of the bus or by one
// that it shares with others.
type registration struct {
	session  *session
	address  string
	consumer *bus.Consumer // the client's own, or that of the channel
	channel  *channel      // nil: the client has its turn

	mu   sync.Mutex  // held while a hook is told, so that it is told in order
	gone atomic.Bool // changed under mu
}

// register makes the client a consumer of an address.
func (s *session) register(address string) error {
	if code, detail := s.refusesRegister(address); code != "" {
		return &refusal{code, detail}
	}
	if s.registered(address) != nil {
		if s.dialect.tcp {
			return nil
		}
		return &refusal{code: registeredAlready}
	}
	if err := s.authorize(s.ctx, &Event{Kind: Register, Address: address}); err != nil {
		return &refusal{rejected, err.Error()}
	}
	r := &registration{session: s, address: address}
	if err := r.listen(); err != nil {
		return &refusal{registrationFailure, err.Error()}
	}
	s.mu.Lock()
	if s.registrations == nil {
		s.registrations = map[string]*registration{}
	}
	s.registrations[address] = r
	s.mu.Unlock()
	s.bridge.stats.consumers.Add(1)
	s.running.Go(r.announce) // until it is known, or the session ends
	return nil
}

// listen makes the registration hear what comes to its address.
func (r *registration) listen() (err error) {
	b := r.session.bridge
	if decides(b.rules, Out, r.address, nil).PublishedOnly {
		return b.join(r)
	}
	r.consumer, err = b.eb.Consume(r.address, r, bus.Deferring())
	return err
}

// refusesRegister says why the client may not register at an address.
func (s *session) refusesRegister(address string) (code, string) {
	l := s.bridge.limits
	if len(address) > l.Address {
		return addressTooLong, fmt.Sprintf("the address has %d bytes; the limit is %d", len(address), l.Address)
	}
	if c := allow(s.bridge.rules, s.client, Out, address, nil); c != "" {
		return c, ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.registrations) >= l.Consumers && s.registrations[address] == nil {
		return tooMany, fmt.Sprintf("the client is registered at %d addresses", len(s.registrations))
	}
	if n := s.bridge.stats.consumers.Load(); n >= int64(l.AllConsumers) {
		return tooMany, fmt.Sprintf("all clients of the bridge are registered at %d addresses", n)
	}
	return "", ""
}

func (s *session) registered(address string) *registration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.registrations[address]
}

// announce tells the hook when all nodes know the registration.
func (r *registration) announce() {
	if r.consumer.Known(r.session.ctx) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.gone.Load() {
		r.session.notify(Event{Kind: Registered, Address: r.address})
	}
}

// unregister ends a registration.
func (s *session) unregister(address string) error {
	s.mu.Lock()
	r := s.registrations[address]
	delete(s.registrations, address)
	s.mu.Unlock()
	if r != nil {
		r.end()
		return nil
	}
	if c := allow(s.bridge.rules, s.client, Out, address, nil); c != "" {
		return &refusal{code: c}
	}
	if s.dialect.tcp {
		return &refusal{code: unknownAddress}
	}
	return nil
}

// unregisterAll ends all registrations, and waits until nothing handles messages for
// the client. The session has been cut.
func (s *session) unregisterAll() {
	s.mu.Lock()
	all := s.registrations
	s.registrations = nil
	s.mu.Unlock()
	for _, r := range all {
		r.end()
	}
	s.failAnswers()
	for _, r := range all {
		if r.channel == nil { // what others hear by their consumer goes on
			<-r.consumer.Done()
		}
	}
}

// end closes the consumer: what waits there goes to others.
func (r *registration) end() {
	if r.channel != nil {
		r.session.bridge.leave(r)
	} else {
		_ = r.consumer.Close() // which returns no error
	}
	r.session.bridge.stats.consumers.Add(-1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone.Store(true)
	r.session.notify(Event{Kind: Unregistered, Address: r.address})
}

// Handle gives a message to the client. It waits until the connection has taken it,
// so that a client which reads slowly slows those who send to it, and nobody else.
func (r *registration) Handle(ctx context.Context, m *bus.Message) error {
	s := r.session
	body, err := s.bridge.toClient(r.address, m)
	if err != nil {
		s.bridge.stats.undelivered.Add(1)
		return &bus.ReplyError{Code: bus.CodeBody, Message: err.Error()}
	}
	e := Event{Kind: Receive, Address: r.address, Header: s.bridge.forHook(m.Header()), Body: orNull(body), Request: m.WantsReply()}
	deadline, _ := ctx.Deadline()
	if err := r.withholds(deadline, &e); err != nil {
		s.bridge.stats.withheld.Add(1)
		if e.Request {
			return err
		}
		return nil
	}
	out := message{address: r.address, header: e.Header, body: e.Body, toOne: m.Verb() != bus.VerbPublish}
	if !e.Request {
		return s.deliver(&out)
	}
	return s.request(ctx, m, &out)
}

// withholds says why a message is kept from the client.
func (r *registration) withholds(deadline time.Time, e *Event) error {
	s := r.session
	if allow(s.bridge.rules, s.client, Out, r.address, e.Body) != "" {
		return errWithheld
	}
	if s.bridge.config.Authorize == nil {
		return nil
	}
	ctx, cancel := context.WithDeadline(s.ctx, deadline)
	defer cancel()
	return s.authorize(ctx, e)
}

var errWithheld = &bus.ReplyError{Code: bus.CodeFailed, Message: "the client may not receive this"}

// deliver writes a message to the client.
func (s *session) deliver(m *message) error {
	if err := s.write(s.dialect.appendMessage(nil, m)); err != nil {
		s.bridge.stats.undelivered.Add(1)
		return errUndelivered
	}
	return nil
}

var errUndelivered = &bus.ReplyError{Code: bus.CodeFailed, Message: "the client has gone"}

func orNull(b json.RawMessage) json.RawMessage {
	if b == nil {
		return json.RawMessage("null")
	}
	return b
}
