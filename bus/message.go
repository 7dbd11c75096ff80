package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"unicode/utf8"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// kinds of messages, as they stand on the wire.
const (
	kindSend    = 1
	kindRequest = 2
	kindPublish = 3
)

// Via says which way a message came.
type Via uint8

// The ways.
const (
	ViaLocal  Via = iota // from this node
	ViaLink              // over the link to the sender's node
	ViaGossip            // over the gossip lane
)

// String returns "local", "link" or "gossip".
func (v Via) String() string {
	switch v {
	case ViaLocal:
		return "local"
	case ViaLink:
		return "link"
	case ViaGossip:
		return "gossip"
	}
	return fmt.Sprintf("Via(%d)", uint8(v))
}

// Message is a message that was received, or the reply to a request. Its body
// and headers are read-only, as other consumers may share them, and may be
// kept; what is appended to the body is a copy. Its methods may be called from
// several goroutines. One that a program makes, to test a handler, say, was sent
// by nobody to nowhere, and is no request.
type Message struct {
	// Body is the encoded body: see [Message.Decode].
	Body []byte

	in       *origin // nil: a program has made it
	rare     atomic.Pointer[rare]
	id       uint64 // of a request; of a send, its choice; of one that came by gossip, the boot that sent it
	deadline int64  // by the bus's clock
	cost     uint32 // what it is charged to its route: see cost
	word
}

// rare is what few messages have. There are so many that 8 bytes of each show.
type rare struct {
	header Header
	key    uint64 // of a request by key: see Message.key
	life   atomic.Pointer[life]
}

// setBody sets the body, with no room behind it: consumers may share its memory.
func (m *Message) setBody(b []byte) { m.Body = b[:len(b):len(b)] }

// setRare is for a message that nobody else knows yet.
func (m *Message) setRare(h Header, key uint64) {
	if h != nil || key != 0 {
		m.rare.Store(&rare{header: h, key: key})
	}
}

// Address returns the address that the message was sent to; "" for a reply, also
// for one that asks back.
func (m *Message) Address() string {
	if m.in == nil || m.in.to == nil {
		return ""
	}
	return m.in.to.Address()
}

// Header returns the headers, which are read-only. It may be nil, whose methods
// for reading work.
func (m *Message) Header() Header {
	if r := m.rare.Load(); r != nil {
		return r.header
	}
	return nil
}

// From returns the name of the node that sent the message. On a bus that is
// not part of a cluster it is empty.
func (m *Message) From() string {
	if m.in == nil {
		return ""
	}
	return m.in.back.sender(m)
}

// Via says which way the message came.
func (m *Message) Via() Via {
	switch {
	case m.state()&byGossip != 0:
		return ViaGossip
	case m.in != nil && m.in.linked:
		return ViaLink
	}
	return ViaLocal
}

// WantsReply reports whether the message is a request, or a reply that asks back
// (see [Message.Request]), that has not been answered.
func (m *Message) WantsReply() bool {
	return m.kind() == kindRequest && m.state()&stateAnswered == 0
}

// Verb says by which call the message came: VerbSend, VerbPublish or VerbRequest,
// also of RequestAll; of a reply it is VerbReply, or VerbAsk if it asks back.
func (m *Message) Verb() string {
	reply := m.Address() == ""
	switch m.kind() {
	case kindSend:
		return VerbSend
	case kindPublish:
		return VerbPublish
	case kindRequest:
		if reply {
			return VerbAsk
		}
		return VerbRequest
	}
	if reply && m.in != nil {
		return VerbReply
	}
	return ""
}

// Codec names how the body is encoded: "bytes", "JSON", "protobuf", or the codec's own
// name ([WithCodec]). It is "" of a message that a program has made.
func (m *Message) Codec() string {
	switch {
	case m.in == nil:
		return ""
	case m.in.codecs.onWire(m.codec()) == codecNamed:
		return m.in.codecs.name(m.codec())
	}
	return codecName(uint8(m.in.codecs.onWire(m.codec())))
}

// Rerouted reports whether the message was first at a consumer that closed
// before it handled it. Such messages are exempt from the order in which their
// sender sent them.
func (m *Message) Rerouted() bool { return m.hops() > 0 }

// Epoch says whether keys may have moved, for a handler that remembers something by the key
// of [ByKey]: it is another one, and higher, once this node knows that a consumer of the address
// that all nodes know, on any node, has come or gone. What was read in the same epoch need
// not be read again. Ask for the epoch before reading. The events of the bus have it, too: see
// [KeysMoved].
//
// Nodes hear of a consumer one after the other. Until all have heard of one that came, its
// keys may still be sent to their former owner, too: so what is written is to be checked by
// the store (a version, a condition), and a handler that finds itself behind reads again. It
// is 0 for a reply, and for a message that a program makes.
func (m *Message) Epoch() uint64 {
	if m.in == nil || m.in.to == nil {
		return 0
	}
	return m.in.to.epoch()
}

// Decode decodes the body into what v points to: a JSON body as
// [encoding/json.Unmarshal] does, a protobuf body into a [proto.Message] of the
// same full name, which comes along with it, one of bytes into a *[]byte, which
// then shares the message's memory, and one of a codec as [WithCodec] says. An
// empty body leaves v as it is. Other pairs are an error. A body that comes without a
// name is decoded into any protobuf message: those of more types than a bus has numbers
// for, which with the codecs of [WithCodec] is 251.
//
// [proto.Message]: https://pkg.go.dev/google.golang.org/protobuf/proto#Message
func (m *Message) Decode(v any) error {
	var err error
	if m.codec() >= codecOwn {
		err = m.in.codecs.decode(m.Body, m.codec(), v)
	} else {
		err = decodeBody(m.Body, m.codec(), v)
	}
	if err != nil {
		err = fmt.Errorf("%w (%s)", err, m.describe())
	}
	return err
}

// describe says which message it is, for a text.
func (m *Message) describe() string {
	what := "a reply"
	if a := m.Address(); a != "" {
		what = fmt.Sprintf("a message to %q", a)
	}
	if from := m.From(); from != "" {
		what += " from " + from
	}
	return what
}

// notRequest is what answering a message says that is none.
func (m *Message) notRequest() error {
	return fmt.Errorf("bus: the message to %q is not a request", m.Address())
}

// Reply answers a request. The body is encoded as for [EventBus.Send] and may
// be reused when Reply returns. Where the link to the requester's node has no room
// the reply is kept, and Reply waits for 100 ms at most (see "What may wait" in
// LIMITS.md); [ErrBusy] says that too many are kept, and the requester
// has been told so, or, if it matches the context's error too, that ctx ended before:
// then the reply may be given again. It is an error if the message is no request or
// has been answered; [ErrLinkLost] says that the requester's node is no longer
// linked. A question of [Message.Request] is
// answered in the same way; when its asker has given up, or its deadline is over,
// the error matches that of a context. The only option is [WithHeader].
func (m *Message) Reply(ctx context.Context, body any, opts ...CallOption) error {
	if err := m.reply(ctx, body, opts); err != nil {
		return err
	}
	m.in.back.soon() // the handler may go on for long
	return nil
}

// reply is Reply by a handler that is at its end: the worker that runs the handler has the
// reply written.
func (m *Message) reply(ctx context.Context, body any, opts []CallOption) error {
	if m.in == nil {
		return m.notRequest()
	}
	if m.in.back.intercepts() {
		_, err := m.in.back.intercept(ctx, m, VerbReply, body, slices.Clone(opts)) // a copy, as opts would escape by the interface, and be allocated at each call
		return err
	}
	var r reply
	if err := m.encodeReply(&r, VerbReply, body, opts); err != nil {
		return err
	}
	if err := r.check(m); err != nil {
		return err
	}
	return m.give(ctx, &r)
}

// encodeReply fills in r for a call. It reports an error for what is wrong with
// the call's arguments.
func (m *Message) encodeReply(r *reply, verb string, body any, opts []CallOption) (err error) {
	if m.kind() != kindRequest {
		return m.notRequest()
	}
	r.id, r.deadline = m.id, m.deadline
	if r.body, r.codec, err = m.in.codecs.encode(body); err != nil {
		return err
	}
	r.shared = m.in.codecs.isShared(r.codec)
	if len(opts) > 0 {
		o, err := collect(verb, opts)
		if err != nil {
			return err
		}
		r.header = o.header
	}
	return nil
}

const replyAt = "the reply to a request at" // an address

// check checks the size of a reply to m.
func (r *reply) check(m *Message) error {
	return m.in.checkSize(replyAt, m.Address(), r.header, r.body)
}

// give answers the request with r, unless it has been answered.
func (m *Message) give(ctx context.Context, r *reply) error {
	if err := m.questionEnded(); err != nil {
		return err
	}
	if !m.set(stateAnswered, stateAnswered) {
		return fmt.Errorf("bus: the request to %q from %s has been answered already", m.Address(), m.From())
	}
	over, err := m.in.back.reply(ctx, *r)
	if err != nil {
		err = fmt.Errorf("%w (of a request to %q)", err, m.Address())
	}
	if !over && errors.Is(err, ErrBusy) || errors.Is(err, ErrTooLarge) {
		atomic.AndUint32(&m.bits, ^uint32(stateAnswered)) // it may be tried again
		return err
	}
	m.in.back.answered(m)
	m.final(err == nil && r.call != nil)
	return err
}

// replyEmpty answers a request with an empty body, unless its answer is deferred.
func (m *Message) replyEmpty() {
	if m.set(stateAnswered, stateAnswered|stateDeferred) {
		_, _ = m.in.back.reply(context.Background(), reply{id: m.id, now: true})
	}
}

// reply is a reply or an error on its way to the requester.
type reply struct {
	id       uint64
	deadline int64 // of the request, or of what asks in its place
	failed   bool
	code     int
	header   Header
	body     []byte
	codec    uint8 // of the body; of an error, of its details
	details  []byte
	shared   bool  // the body's memory is the caller's
	now      bool  // it does not wait for room
	over     bool  // an error has been given in its place
	call     *call // of one that asks: who waits for its answer
}

// Limits of what goes over a link. They bound a frame, and so what a peer can
// make this node allocate for one.
const (
	maxAddress  = 255
	messageCost = 128 // bytes that a message is charged on top of its body
	headersCost = 384 // and for having headers, on top of their text,
	headerCost  = 128 // and for each value: about the memory they take
)

// cost is what a message is charged to its consumer's window. Both ends of a link
// reckon it.
func cost(body int, h Header) int64 {
	n := int64(messageCost + body)
	if text, values := h.size(); values > 0 {
		n += int64(headersCost + values*headerCost + text)
	}
	return n
}

func checkAddress(address string) error {
	if address == "" {
		return errors.New("bus: empty address")
	}
	if !utf8.ValidString(address) {
		return fmt.Errorf("bus: address %q is not UTF-8", address)
	}
	if len(address) > maxAddress {
		return fmt.Errorf("%w: address of %d bytes; the limit is %d", ErrTooLarge, len(address), maxAddress)
	}
	return nil
}

func (s *services) checkSize(what, address string, h Header, body []byte) error {
	if len(body) > s.bodyLimit {
		return fmt.Errorf("%w: body of %d bytes in %s %q; the limit is %d (WithBodyLimit)", ErrTooLarge, len(body), what, address, s.bodyLimit)
	}
	if h == nil {
		return nil
	}
	for k, vs := range h {
		for _, v := range vs {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				return fmt.Errorf("bus: header %q of %s %q is not UTF-8", k, what, address)
			}
		}
		if k == "" && len(vs) > 0 {
			return fmt.Errorf("bus: header without a key of %s %q, with the value %q", what, address, vs[0])
		}
	}
	if n, values := h.size(); n > frame.MaxHeader || values > frame.MaxHeaders {
		return fmt.Errorf("%w: %d headers of %d bytes in %s %q; the limits are %d and %d", ErrTooLarge, values, n, what, address, frame.MaxHeaders, frame.MaxHeader)
	}
	return nil
}
