package bridge

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// replyPrefix begins the addresses at which clients answer. They are of their
// session, and each takes one answer.
const replyPrefix = "__vertx.reply."

// answer is a request that the client has been given, or a reply that asks back.
type answer struct {
	m    *bus.Message
	done chan error // of one: that it has been answered, or the client's no
}

// expect returns an address at which the client can answer m.
func (s *session) expect(m *bus.Message) (string, *answer) {
	a := &answer{m, make(chan error, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answers == nil {
		s.answers = map[string]*answer{}
	}
	s.lastAnswer++
	address := replyPrefix + strconv.FormatUint(s.lastAnswer, 10)
	s.answers[address] = a
	s.bridge.stats.unanswered.Add(1)
	return address, a
}

// takeAnswer returns what the client can answer at an address, which it then cannot
// any more.
func (s *session) takeAnswer(address string) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.answers[address]
	if a != nil {
		delete(s.answers, address)
		s.bridge.stats.unanswered.Add(-1)
	}
	return a
}

// request gives a request to the client and waits for its answer.
func (r *registration) request(ctx context.Context, m *bus.Message, out *message) error {
	s := r.session
	address, a := s.expect(m)
	defer s.takeAnswer(address)
	out.replyAddress = address
	if err := s.deliver(out); err != nil {
		return err
	}
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return errUndelivered
	}
}

// answer takes the client's answer; it reports whether the frame is one.
func (s *session) answer(f *frame) (bool, error) {
	if !strings.HasPrefix(f.address, replyPrefix) {
		return false, nil
	}
	a := s.takeAnswer(f.address)
	if a == nil {
		s.bridge.stats.lateAnswers.Add(1)
		return true, nil
	}
	if f.failed {
		a.done <- &bus.ReplyError{Code: f.failureCode, Message: f.message}
		return true, nil
	}
	d, err := parseHeaders(f.headers)
	if err != nil {
		return true, err
	}
	body, err := s.toBus(f.address, orNull(f.body))
	if err != nil {
		return true, &refusal{notSent, err.Error()}
	}
	if f.replyAddress == "" {
		if err := a.m.Reply(s.ctx, body, headerOptions(d.header)...); err != nil {
			s.bridge.stats.lateAnswers.Add(1)
		}
		a.done <- nil
		return true, nil
	}
	return true, s.ask(f, d, func(ctx context.Context, next func()) (*bus.Message, error) {
		next()
		m, err := a.m.Request(ctx, body, headerOptions(d.header)...)
		a.done <- nil
		return m, err
	})
}

// forget takes back, in a while, that the client can answer a reply which asks.
func (s *session) forget(address string) {
	time.AfterFunc(s.bridge.limits.Reply, func() { s.takeAnswer(address) })
}
