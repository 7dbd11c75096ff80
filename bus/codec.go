package bus

import (
	"encoding/json"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
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
	case proto.Message:
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
