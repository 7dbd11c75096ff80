package bus

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// WithDefaultCodec registers an encoding for all bodies that would be encoded as JSON:
// those that are no []byte, no [json.RawMessage], which is JSON already, and no protobuf
// message, and have no codec of their own by [WithCodec]. encode and decode are like
// [encoding/json.Marshal] and [encoding/json.Unmarshal], which CBOR, msgpack and others
// have, too; what is said of [WithCodec] about name and functions holds here. A node
// decodes JSON all the same.
//
// With a nil encode the node decodes only, and sends JSON on: so a codec is rolled out
// to all nodes first, and used then.
func WithDefaultCodec(name string, encode func(any) ([]byte, error), decode func([]byte, any) error) Option {
	checkCodec(name, decode == nil)
	k := codec{name: name, field: frame.AppendCodecName(nil, name), encode: encode, decode: func(b []byte, v any) (bool, error) {
		switch v.(type) {
		case *[]byte, proto.Message:
			return false, nil
		}
		return true, decode(b, v)
	}}
	return optionFunc(func(c *config) {
		if n := c.codecs.name(c.codecs.fallback); n != "" && encode != nil {
			panic(fmt.Sprintf("bus: WithDefaultCodec(%q): there is one already, %q", name, n))
		}
		n := c.codecs.addName(k)
		if encode != nil {
			c.codecs.fallback = n
		}
	})
}

// WithDecoder registers the decoding half of a codec of [WithCodec]: what others send in
// it this node decodes, and what it sends itself goes as before. So a codec is rolled
// out to all nodes first, and used then.
func WithDecoder[R any](name string, decode func([]byte) (R, error)) Option {
	checkCodec(name, decode == nil)
	k := codec{name: name, field: frame.AppendCodecName(nil, name), decode: func(b []byte, v any) (bool, error) { return decodeInto(decode, b, v) }}
	return optionFunc(func(c *config) { c.codecs.addName(k) })
}

// defaultFor returns the codec of a body that has none of its own; 0: a built-in one.
func (cs *codecs) defaultFor(body any) uint8 {
	if cs.fallback == 0 || body == nil {
		return 0
	}
	switch body.(type) {
	case []byte, json.RawMessage, proto.Message:
		return 0
	}
	if isMessageByValue(body) { // which is refused
		return 0
	}
	return cs.fallback
}
