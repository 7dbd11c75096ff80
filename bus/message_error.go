package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// Limits of an error that answers a request.
const (
	maxErrorText = 16 << 10
	maxDetails   = 16 << 10
)

// fail answers a request with an error; it never waits. Details that cannot go along are
// logged.
func (m *Message) fail(err error) {
	if m.kind() != kindRequest {
		return
	}
	r, lost := m.refusal(err) // which may panic, as the methods of err and of its details are a program's
	if lost != nil {
		m.in.warnings.warn("details of an error do not go along", "address", m.Address(), "peer", m.From(), "err", lost)
	}
	m.refuse(r)
}

// refusal returns the reply to a request whose handler ended with err. It reports an error if
// the details of err cannot go along: the reply has none then.
func (m *Message) refusal(err error) (r reply, lost error) {
	e := replyErrorOf(err)
	r = reply{id: m.id, failed: true, now: true, code: e.Code, body: []byte(cutText(e.Message))}
	if r.details, r.codec, lost = m.in.encodeDetails(e); lost != nil {
		lost = fmt.Errorf("%w (details of an error of the consumer of %q)", lost, m.Address())
	}
	return r, lost
}

// refuse gives the answer that refusal has returned, unless the request has been answered.
func (m *Message) refuse(r reply) {
	if !m.set(stateAnswered, stateAnswered) {
		return
	}
	_, _ = m.in.back.reply(context.Background(), r)
	m.in.back.answered(m)
	m.final(false)
}

// replyErrorOf returns what a request is answered with whose handler ended with err.
// What is wrapped there keeps the words around it, and its code if that is a
// handler's: one of the bus was another handler's end, of which this one was told.
func replyErrorOf(err error) *ReplyError {
	var e *ReplyError
	if !errors.As(err, &e) || e == nil {
		return &ReplyError{Code: CodeFailed, Message: err.Error()}
	}
	bare := err == error(e)
	switch {
	case bare && e.came != nil && e.Code < 0:
		return &ReplyError{Code: CodeFailed, Message: fmt.Sprintf("request to %q%s: %v", e.Address, e.came.in.at(), e)}
	case bare:
		return e
	case e.Code < 0:
		return &ReplyError{Code: CodeFailed, Message: err.Error()}
	}
	text := strings.Replace(err.Error(), e.Error(), e.Message, 1)
	return &ReplyError{Code: e.Code, Message: text, Details: e.Details, came: e.came}
}

// cutText cuts the text of an error that is too long, before a character, and notes
// how long it was.
func cutText(s string) string {
	if len(s) <= maxErrorText {
		return s
	}
	note := fmt.Sprintf("… (%d bytes)", len(s))
	n := maxErrorText - len(note)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + note
}

// encodeDetails encodes the details of an error, or returns those that came with it.
func (s *services) encodeDetails(e *ReplyError) (b []byte, codec uint8, err error) {
	switch {
	case e.Details != nil:
		if b, codec, err = s.codecs.encode(e.Details); s.codecs.isShared(codec) {
			b = bytes.Clone(b)
		}
	case e.came != nil && len(e.came.Body) > 0:
		b = e.came.Body
		codec, err = s.codecAs(e.came)
	}
	if err == nil && len(b) > maxDetails {
		err = fmt.Errorf("%w: %d bytes; the limit is %d", ErrTooLarge, len(b), maxDetails)
	}
	if err != nil {
		return nil, codecBytes, err
	}
	return b, codec, nil
}

var errUnknownDetails = errors.New("bus: they are encoded by a codec that this node does not have (WithCodec)")

// codecAs returns the number here of the codec of details that came, perhaps by another bus.
func (s *services) codecAs(m *Message) (uint8, error) {
	codec := m.codec()
	if codec < codecOwn || codec == codecUnknown || m.in.services == s {
		return codec, unknown(codec)
	}
	codec = s.codecs.find(m.in.codecs.onWire(codec), []byte(m.in.codecs.name(codec)))
	return codec, unknown(codec)
}

func unknown(codec uint8) error {
	if codec == codecUnknown {
		return errUnknownDetails
	}
	return nil
}

// errorOf makes an error of a reply that is one.
func errorOf(in *origin, r *reply) *ReplyError {
	came := newMessage(r.details, false)
	came.in, came.bits = in, traits(0, r.codec, 0)
	return &ReplyError{Code: r.code, Message: string(r.body), Node: in.back.sender(nil), came: came}
}

// fields returns the fields of a reply's frame between the headers and the body.
func (r *reply) fields(cs *codecs) []byte {
	rest := cs.field(r.codec)
	if len(r.details) > 0 {
		rest = frame.AppendDetails(rest, r.details)
	}
	return rest
}
