package bridge

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/runrig-go/runrig/bus"
)

// code is the word by which a client is told what is wrong with a frame.
type code string

// The codes, as they are over WebSockets; see [dialect.code] for TCP.
const (
	invalidJSON         code = "invalid_json"
	missingType         code = "missing_type"
	invalidType         code = "invalid_type"
	missingAddress      code = "missing_address"
	invalidReplyAddress code = "invalid_reply_address"
	invalidHeader       code = "invalid_header"
	addressTooLong      code = "max_address_length_reached"
	tooMany             code = "max_handlers_reached"
	registeredAlready   code = "address_already_registered"
	registrationFailure code = "registration_failure"
	accessDenied        code = "access_denied"
	notLoggedIn         code = "not_logged_in"
	rejected            code = "rejected" // by Authorize
	unknownAddress      code = "unknown_address"
	frameTooLarge       code = "frame_too_large"
	frameTooSlow        code = "frame_too_slow"
	notSent             code = "not_sent"
)

// refusal is an error that the client is told.
type refusal struct {
	code   code
	detail string
}

func (r *refusal) Error() string { return fmt.Sprintf("%s: %s", r.code, r.detail) }

// dialect is how the two bridges of the original differ in what they say.
type dialect struct {
	tcp bool
}

// code returns a code as the clients of the dialect know it.
func (d dialect) code(c code) code {
	if d.tcp {
		switch c {
		case invalidType, missingType:
			return "unknown_type"
		case rejected:
			return "blocked by bridgeEvent handler"
		}
	}
	return c
}

// appendRefusal appends the frame that says what is wrong with one of the client's.
func (d dialect) appendRefusal(b []byte, r *refusal, address string) []byte {
	field := "body"
	if d.tcp {
		field = "message"
	}
	b = append(b, `{"type":"err","`...)
	b = append(append(b, field...), `":`...)
	b = appendString(b, string(d.code(r.code)))
	if address != "" {
		b = appendString(append(b, `,"sourceAddress":`...), address)
	}
	if r.detail != "" {
		b = appendString(append(b, `,"detail":`...), r.detail)
	}
	return append(b, '}')
}

// failure is how a request of a client's has ended without a reply.
type failure struct {
	kind string // failureType
	code int
	text string
}

// appendFailure appends the frame that says so.
func (d dialect) appendFailure(b []byte, replyAddress, address string, f failure) []byte {
	b = appendString(append(b, `{"type":"err","address":`...), replyAddress)
	if d.tcp {
		b = appendString(append(b, `,"sourceAddress":`...), address)
	}
	b = strconv.AppendInt(append(b, `,"failureCode":`...), int64(f.code), 10)
	b = appendString(append(b, `,"failureType":`...), f.kind)
	b = appendString(append(b, `,"message":`...), f.text)
	return append(b, '}')
}

// message is what comes for a client.
type message struct {
	address, replyAddress string
	header                bus.Header
	body                  json.RawMessage // nil or null: none
	toOne                 bool            // not published
}

// appendMessage appends its frame.
func (d dialect) appendMessage(b []byte, m *message) []byte {
	kind := `{"type":"rec","address":`
	if d.tcp {
		kind = `{"type":"message","address":`
	}
	b = appendString(append(b, kind...), m.address)
	if m.replyAddress != "" {
		b = appendString(append(b, `,"replyAddress":`...), m.replyAddress)
	}
	if d.tcp || len(m.header) > 0 {
		b = appendHeaders(append(b, `,"headers":`...), m.header)
	}
	switch {
	case m.body != nil && string(m.body) != "null":
		b = append(append(b, `,"body":`...), m.body...)
	case !d.tcp:
		b = append(b, `,"body":null`...)
	}
	if d.tcp {
		b = strconv.AppendBool(append(b, `,"send":`...), m.toOne)
	}
	return append(b, '}')
}

// appendPong answers a ping, where it is answered.
func (d dialect) pong() []byte {
	if !d.tcp {
		return nil
	}
	return []byte(`{"type":"pong"}`)
}
