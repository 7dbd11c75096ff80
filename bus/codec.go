package bus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// How a body is encoded, as it stands on the wire.
const (
	codecBytes = 0
	codecJSON  = 1
	codecProto = 2
)

// encode turns a body into bytes. A []byte is not copied.
func encode(body any) (b []byte, codec uint8, err error) {
	switch v := body.(type) {
	case nil:
		return nil, codecBytes, nil
	case []byte:
		return v, codecBytes, nil
	case json.RawMessage: // JSON already, which goes as it is
		if json.Valid(v) {
			return bytes.Clone(v), codecJSON, nil
		}
		b, err = json.Marshal(v) // which says why it is none, and makes null of nil
		codec = codecJSON
	case proto.Message:
		if !v.ProtoReflect().IsValid() { // it would arrive as an empty one
			return nil, 0, fmt.Errorf("bus: body is a nil %T; send nil, or an empty message", body)
		}
		b, err = proto.Marshal(v)
		codec = codecProto
	default:
		if isMessageByValue(body) {
			return nil, 0, fmt.Errorf("bus: body of type %T is a protobuf message passed by value; pass a pointer", body)
		}
		b, err = json.Marshal(v)
		codec = codecJSON
	}
	if err != nil {
		return nil, 0, fmt.Errorf("bus: body of type %T cannot be encoded: %w", body, err)
	}
	return b, codec, nil
}

var messageType = reflect.TypeFor[proto.Message]()

func isMessageByValue(body any) bool {
	t := reflect.TypeOf(body)
	return t.Kind() == reflect.Struct && reflect.PointerTo(t).Implements(messageType)
}

// decodeBody decodes b into what v points to.
func decodeBody(b []byte, codec uint8, v any) error {
	switch codec {
	case codecBytes:
		if to, ok := v.(*[]byte); ok {
			*to = b
			return nil
		}
		if len(b) == 0 { // no body: v stays as it is
			return nil
		}
	case codecJSON:
		if _, ok := v.(*[]byte); ok {
			break
		}
		if _, ok := v.(proto.Message); ok {
			break
		}
		if err := json.Unmarshal(b, v); err != nil {
			return fmt.Errorf("bus: JSON body does not fit %T: %w", v, err)
		}
		return nil
	case codecProto:
		to, ok := v.(proto.Message)
		if !ok {
			break
		}
		if err := proto.Unmarshal(b, to); err != nil {
			return fmt.Errorf("bus: protobuf body does not fit %T: %w", v, err)
		}
		return nil
	}
	return fmt.Errorf("bus: body of codec %s cannot be decoded into %T", codecName(codec), v)
}

func codecName(codec uint8) string {
	switch codec {
	case codecBytes:
		return "bytes"
	case codecJSON:
		return "JSON"
	case codecProto:
		return "protobuf"
	}
	return fmt.Sprint(codec)
}

const (
	codecNamed   = 3   // on the wire: the codec that a field names
	codecOwn     = 4   // in this node: the first of its own codecs, by number; behind them protoTypes
	codecUnknown = 255 // in this node: a codec that it does not have

	maxCodecName = 64
)

// codec is one of [WithCodec].
type codec struct {
	name   string
	field  []byte // the name as a field of a frame
	encode func(body any) ([]byte, error)
	decode func(b []byte, v any) (fits bool, err error)
}

// codecs are those that this node has beside the built-in ones. But for types they do not
// change once the bus is made.
type codecs struct {
	own      []codec // from number codecOwn on
	byType   map[reflect.Type]uint8
	byName   map[string]uint8
	fallback uint8 // of bodies whose type has none; 0: the built-in ones
	types    *protoTypes
}

// WithCodec registers an encoding of one's own: bodies whose type is exactly S
// are encoded by encode, in all verbs and before the built-in encodings, and
// name goes with them. A node that has registered the name decodes them, in
// [Message.Decode] into an *R, or an *any, which then holds an R. S and R may
// differ: what is sent need not be what is received. The bus copies what encode
// returns where it must, and the bytes that decode gets are read-only and may be
// kept. Both may be called concurrently, and run in the call that encodes or
// decodes; their errors are that call's.
//
// A node without the codec handles no message of it: a request is answered with
// [CodeBody], others are counted ([Stats]) and logged; a reply of it is an
// error of the request.
//
// The name has 1 to 64 bytes of UTF-8. WithCodec or [New] panics if it has not,
// if a function is nil, if S is []byte or an interface, or if the bus has a
// codec of that name, or for S, already; it has room for 250.
func WithCodec[S, R any](name string, encode func(S) ([]byte, error), decode func([]byte) (R, error)) Option {
	t := reflect.TypeFor[S]()
	checkCodec(name, encode == nil || decode == nil)
	switch {
	case t == reflect.TypeFor[[]byte](), t.Kind() == reflect.Interface:
		panic(fmt.Sprintf("bus: WithCodec(%q): no codec can be for %v; it needs a type of its own", name, t))
	}
	k := codec{
		name:   name,
		field:  frame.AppendCodecName(nil, name),
		encode: func(body any) ([]byte, error) { return encode(body.(S)) },
		decode: func(b []byte, v any) (bool, error) { return decodeInto(decode, b, v) },
	}
	return optionFunc(func(c *config) { c.codecs.add(k, t) })
}

// checkCodec panics if a codec cannot have the name, or lacks a function.
func checkCodec(name string, lacks bool) {
	if name == "" || len(name) > maxCodecName || !utf8.ValidString(name) {
		panic(fmt.Sprintf("bus: WithCodec(%q): the name must have 1 to %d bytes of UTF-8", name, maxCodecName))
	}
	if lacks {
		panic(fmt.Sprintf("bus: WithCodec(%q): a function is nil", name))
	}
}

// decodeInto decodes into an *R or an *any; v stays as it is if there is an
// error.
func decodeInto[R any](decode func([]byte) (R, error), b []byte, v any) (fits bool, err error) {
	switch to := v.(type) {
	case *R:
		r, err := decode(b)
		if err == nil {
			*to = r
		}
		return true, err
	case *any:
		r, err := decode(b)
		if err == nil {
			*to = r
		}
		return true, err
	}
	return false, nil
}

// add registers a codec for a type; it panics if it cannot be told from another.
func (cs *codecs) add(k codec, t reflect.Type) {
	if n, ok := cs.byType[t]; ok {
		panic(fmt.Sprintf("bus: WithCodec(%q): there is a codec for %v already, %q", k.name, t, cs.own[n-codecOwn].name))
	}
	n := cs.addName(k)
	if cs.byType == nil {
		cs.byType = map[reflect.Type]uint8{}
	}
	cs.byType[t] = n
}

// addName registers a codec and returns its number; it panics if it cannot be told from
// another.
func (cs *codecs) addName(k codec) uint8 {
	if _, ok := cs.byName[k.name]; ok {
		panic(fmt.Sprintf("bus: WithCodec(%q): there is a codec of that name already", k.name))
	}
	n := codecOwn + len(cs.own)
	if n == codecUnknown-1 {
		panic(fmt.Sprintf("bus: WithCodec(%q): there are %d codecs already", k.name, len(cs.own)))
	}
	if cs.byName == nil {
		cs.byName = map[string]uint8{}
	}
	cs.own = append(cs.own, k)
	cs.byName[k.name] = uint8(n)
	return uint8(n)
}

// encode encodes a body by the codec of its type, or by a built-in one.
func (cs *codecs) encode(body any) (b []byte, number uint8, err error) {
	if len(cs.own) == 0 {
		b, number, err = encode(body)
	} else {
		b, number, err = cs.encodeOwn(body)
	}
	if number == codecProto {
		number = cs.types.of(body.(proto.Message))
	}
	return b, number, err
}

// encodeOwn is on its own for the sake of the stack, which is small at first in a
// handler.
func (cs *codecs) encodeOwn(body any) (b []byte, number uint8, err error) {
	n, ok := cs.byType[reflect.TypeOf(body)]
	if !ok {
		n = cs.defaultFor(body)
	}
	if n == 0 {
		return encode(body)
	}
	k := &cs.own[n-codecOwn]
	if b, err = k.encode(body); err != nil {
		return nil, 0, fmt.Errorf("bus: body of type %T cannot be encoded by codec %q: %w", body, k.name, err)
	}
	return b, n, nil
}

// isShared reports whether encoding leaves a body in memory that may be its
// sender's.
func (cs *codecs) isShared(number uint8) bool {
	return number == codecBytes || number >= codecOwn && cs.types.at(number) == nil
}

// decode decodes the body of one of this node's own codecs, or of a protobuf message whose
// name has come with it.
func (cs *codecs) decode(b []byte, number uint8, v any) error {
	if t := cs.types.at(number); t != nil {
		return t.decode(b, v)
	}
	k := &cs.own[number-codecOwn]
	fits, err := k.decode(b, v)
	if err != nil {
		return fmt.Errorf("bus: body of codec %q cannot be decoded: %w", k.name, err)
	}
	if !fits {
		return fmt.Errorf("bus: body of codec %q cannot be decoded into %T", k.name, v)
	}
	return nil
}

// onWire returns a codec's number on the wire.
func (cs *codecs) onWire(number uint8) uint64 {
	if cs.types.at(number) != nil {
		return codecProto
	}
	return uint64(min(number, codecNamed))
}

// field returns the field that names a codec, or a protobuf message; nil if the codec's
// number says all.
func (cs *codecs) field(number uint8) []byte {
	if number < codecOwn {
		return nil
	}
	if t := cs.types.at(number); t != nil {
		return t.field
	}
	return cs.own[number-codecOwn].field
}

// name returns what field says.
func (cs *codecs) name(number uint8) string {
	if number < codecOwn {
		return ""
	}
	if t := cs.types.at(number); t != nil {
		return t.name
	}
	return cs.own[number-codecOwn].name
}

// number returns the codec of a body that came, codecUnknown if this node does
// not have it.
func (cs *codecs) number(f *frame.Frame) uint8 {
	if n := f.Codec(); n < codecProto {
		return uint8(n)
	}
	return cs.find(f.Codec(), f.CodecName)
}

func (cs *codecs) find(onWire uint64, name []byte) uint8 {
	switch n, ok := cs.byName[string(name)]; {
	case onWire == codecProto && len(name) > 0:
		return cs.types.named(name)
	case onWire < codecNamed:
		return uint8(onWire)
	case onWire == codecNamed && ok:
		return n
	}
	return codecUnknown
}

// describeCodec names a codec that came.
func describeCodec(onWire uint64, name []byte) string {
	if onWire == codecNamed {
		return fmt.Sprintf("codec %q", name[:min(len(name), maxCodecName)])
	}
	return fmt.Sprintf("codec number %d", onWire)
}

// noCodec is the answer to one who has used a codec that this node does not have.
func (s *services) noCodec(what, codec string) *ReplyError {
	return &ReplyError{Code: CodeBody, Message: fmt.Sprintf("%s is encoded by %s, which %s does not have (WithCodec)", what, codec, s.self.name())}
}
