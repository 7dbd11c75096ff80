package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// outgoing is what a client sends or publishes, allowed and ready for the bus.
type outgoing struct {
	delivery
	body any
}

// prepare asks the rules and the hook about what a client sends or publishes.
func (s *session) prepare(kind Kind, f *frame) (o outgoing, err error) {
	if o.delivery, err = parseHeaders(f.headers); err != nil {
		return o, err
	}
	e := Event{Kind: kind, Address: f.address, Header: o.header, Body: orNull(f.body), Request: f.replyAddress != ""}
	if c := allow(s.bridge.rules, s.client, In, f.address, e.Body); c != "" {
		return o, &refusal{code: c}
	}
	if err := s.authorize(s.ctx, &e); err != nil {
		return o, &refusal{rejected, err.Error()}
	}
	o.header = e.Header
	if o.body, err = s.toBus(f.address, orNull(e.Body)); err != nil {
		return o, &refusal{notSent, err.Error()}
	}
	return o, nil
}

// send handles a send: an answer, a request, or neither.
func (s *session) send(f *frame) error {
	if n := len(f.replyAddress); n > s.bridge.limits.ReplyAddress {
		return &refusal{invalidReplyAddress, fmt.Sprintf("it has %d bytes; the limit is %d", n, s.bridge.limits.ReplyAddress)}
	}
	if is, err := s.answer(f); is {
		return err
	}
	o, err := s.prepare(Send, f)
	if err != nil {
		return err
	}
	if f.replyAddress != "" {
		address := f.address
		return s.ask(f, o.delivery, func(ctx context.Context, next func()) (*bus.Message, error) {
			return s.bridge.eb.Request(ctx, address, o.body, append(o.options(), bus.Placed(next))...)
		})
	}
	ctx, cancel := s.within(o.timeout)
	defer cancel()
	return s.sent(s.bridge.eb.Send(ctx, f.address, o.body, o.options()...))
}

func (s *session) publish(f *frame) error {
	o, err := s.prepare(Publish, f)
	if err != nil {
		return err
	}
	return s.sent(s.bridge.eb.Publish(s.ctx, f.address, o.body, o.options()...))
}

// sent says what a client is told of the end of a send or publish: as the original,
// nothing of consumers that are not there or have no room.
func (s *session) sent(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bus.ErrNoConsumer), errors.Is(err, bus.ErrBusy), s.ctx.Err() != nil:
		s.bridge.stats.notSent.Add(1)
		return nil
	}
	return &refusal{notSent, err.Error()}
}

// within returns the context of a send that has so long, 0 for as long as the bus gives
// it: no longer than a request, as the client is not read meanwhile.
func (s *session) within(d time.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return s.ctx, func() {}
	}
	return context.WithTimeout(s.ctx, min(d, s.bridge.limits.Reply))
}

// ask has a request made, beside what the client says next, and gives the client its
// end. It returns when request has called next, as it is on its way, so that the next
// frame does not overtake it.
func (s *session) ask(f *frame, d delivery, request func(ctx context.Context, next func()) (*bus.Message, error)) error {
	if !s.mayAsk() {
		return &refusal{tooMany, fmt.Sprintf("%d requests of the client wait for their replies", s.bridge.limits.Requests)}
	}
	timeout := s.bridge.limits.Reply
	if d.timeout > 0 {
		timeout = min(d.timeout, timeout)
	}
	address, replyAddress := f.address, f.replyAddress
	s.running.Go(func() { // until the reply or its time, or the session ends
		defer s.asked()
		ctx, cancel := context.WithTimeout(s.ctx, timeout)
		defer cancel()
		var once sync.Once
		next := func() { once.Do(func() { s.placed <- struct{}{} }) }
		m, err := s.guarded(func() (*bus.Message, error) { return request(ctx, next) })
		next() // it may not have been on its way at all
		s.reply(address, replyAddress, timeout, m, err)
	})
	<-s.placed
	return nil
}

// guarded makes a request, which an interceptor may end by a panic.
func (s *session) guarded(request func() (*bus.Message, error)) (m *bus.Message, err error) {
	defer s.recovered("a request", &err)
	return request()
}

func (s *session) mayAsk() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests >= s.bridge.limits.Requests {
		return false
	}
	s.requests++
	s.bridge.stats.requests.Add(1)
	return true
}

func (s *session) asked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests--
	s.bridge.stats.requests.Add(-1)
}

// reply gives the client the end of its request.
func (s *session) reply(address, replyAddress string, timeout time.Duration, m *bus.Message, err error) {
	out := message{address: replyAddress, toOne: true}
	if err == nil {
		out.body, err = s.bridge.toClient(address, m)
	}
	if err != nil {
		_ = s.write(s.dialect.appendFailure(nil, replyAddress, address, failureOf(err, address, timeout)))
		return
	}
	out.header = m.Header()
	if m.WantsReply() {
		out.replyAddress = s.expect(m, s.bridge.limits.Reply)
	}
	_ = s.deliver(&out)
}

// failureOf says in the original's words why a request had no reply.
func failureOf(err error, address string, timeout time.Duration) failure {
	var no *bus.ReplyError
	switch {
	case errors.As(err, &no):
		return failure{"RECIPIENT_FAILURE", no.Code, no.Message}
	case errors.Is(err, bus.ErrNoConsumer):
		return failure{"NO_HANDLERS", -1, "No handlers for address " + address}
	case errors.Is(err, context.DeadlineExceeded):
		return failure{"TIMEOUT", -1, fmt.Sprintf("Timed out after waiting %d(ms) for a reply. address: %s", timeout.Milliseconds(), address)}
	}
	return failure{"ERROR", -1, err.Error()}
}
