package bridge

import (
	"context"
	"errors"
	"maps"
	"slices"
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
	m     *bus.Message
	timer *time.Timer // when it is too late
}

// expect returns an address at which the client can answer m, for so long; "" where it
// has left too many unanswered.
func (s *session) expect(m *bus.Message, d time.Duration) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.answers) >= s.bridge.limits.Unanswered {
		return ""
	}
	if s.answers == nil {
		s.answers = map[string]*answer{}
	}
	s.lastAnswer++
	address := replyPrefix + strconv.FormatUint(s.lastAnswer, 10)
	s.answers[address] = &answer{m, time.AfterFunc(d, func() { s.takeAnswer(address) })} // stopped with the answer
	s.bridge.stats.unanswered.Add(1)
	return address
}

// takeAnswer returns what the client can answer at an address, which it then cannot
// any more; nil if it could not.
func (s *session) takeAnswer(address string) *bus.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.answers[address]
	if a == nil {
		return nil
	}
	a.timer.Stop()
	delete(s.answers, address)
	s.bridge.stats.unanswered.Add(-1)
	return a.m
}

// failAnswers ends what a client that is gone has not answered.
func (s *session) failAnswers() {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.answers))
	s.mu.Unlock()
	for _, address := range all {
		if m := s.takeAnswer(address); m != nil {
			_ = m.Fail(errUndelivered) // its requester may have gone, too
		}
	}
}

// request gives a request to the client, which answers it later.
func (s *session) request(ctx context.Context, m *bus.Message, out *message) error {
	deadline, _ := ctx.Deadline()
	if out.replyAddress = s.expect(m, time.Until(deadline)); out.replyAddress == "" {
		return &bus.ReplyError{Code: bus.CodeFailed, Message: "the client has left too many requests unanswered"}
	}
	if err := m.Defer(); err != nil {
		return err
	}
	if err := s.deliver(out); err != nil {
		s.takeAnswer(out.replyAddress)
		return err
	}
	return nil
}

// answer takes the client's answer; it reports whether the frame is one.
func (s *session) answer(f *frame) (bool, error) {
	if !strings.HasPrefix(f.address, replyPrefix) {
		return false, nil
	}
	d, err := parseHeaders(f.headers)
	if err != nil {
		return true, err
	}
	body, err := s.toBus(f.address, orNull(f.body))
	if err != nil {
		return true, &refusal{notSent, err.Error()}
	}
	m := s.takeAnswer(f.address)
	switch {
	case m == nil:
		err = errLate
	case f.failed:
		err = m.Fail(&bus.ReplyError{Code: f.failureCode, Message: f.message})
	case f.replyAddress != "":
		return true, s.ask(f, d, func(ctx context.Context, next func()) (*bus.Message, error) {
			next()
			return m.Request(ctx, body, headerOptions(d.header)...)
		})
	default:
		err = m.Reply(s.ctx, body, headerOptions(d.header)...)
	}
	if err != nil {
		s.bridge.stats.lateAnswers.Add(1)
	}
	return true, nil
}

var errLate = errors.New("nobody waits for the answer")
