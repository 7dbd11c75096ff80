package bridge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// The headers of a frame that are options of its delivery, and go no further.
const (
	headerTimeout   = "timeout"   // of a request, in milliseconds
	headerLocalOnly = "localOnly" // whether only consumers of this node may have it
	headerCodec     = "codecName" // which a client cannot choose
)

// maxHeaders is how long the JSON of headers may be: what the bus takes of their text fits,
// however it is written.
const maxHeaders = 128 << 10

// delivery is what the headers of a frame say.
type delivery struct {
	header    bus.Header // nil: none
	timeout   time.Duration
	localOnly bool
}

// parseHeaders reads the headers of a frame, each with a value or an array of them.
// The error is a *refusal.
func parseHeaders(b []byte) (delivery, error) {
	var d delivery
	if b == nil {
		return d, nil
	}
	if len(b) > maxHeaders {
		return d, badHeader("%d bytes of headers; the limit is %d, and 16 KiB of text", len(b), maxHeaders)
	}
	err := fields(b, func(quoted, raw []byte) error {
		key := unquote(quoted)
		values, err := headerValues(key, raw)
		if err != nil {
			return err
		}
		return d.add(key, values)
	})
	return d, err
}

func (d *delivery) add(key string, values []string) error {
	one := ""
	if len(values) == 1 {
		one = values[0]
	}
	switch key {
	case headerTimeout:
		ms, err := strconv.ParseInt(one, 10, 64)
		if err != nil || ms < 1 {
			return badHeader("%s is %q; give milliseconds, 1 or more", key, values)
		}
		d.timeout = time.Duration(min(ms, int64(24*time.Hour/time.Millisecond))) * time.Millisecond
	case headerLocalOnly:
		local, err := strconv.ParseBool(one)
		if err != nil {
			return badHeader("%s is %q; give true or false", key, values)
		}
		d.localOnly = local
	case headerCodec:
		return badHeader("%s is %q; how a body goes on is not for a client to say", key, values)
	case "":
		return badHeader("a header has no key")
	default:
		for _, v := range values {
			if d.header == nil {
				d.header = bus.Header{}
			}
			d.header.Add(key, v)
		}
	}
	return nil
}

func badHeader(format string, args ...any) error {
	return &refusal{code: invalidHeader, detail: fmt.Sprintf(format, args...)}
}

// headerValues reads the value, or the array of values, of a header.
func headerValues(key string, raw json.RawMessage) ([]string, error) {
	if raw[0] != '[' {
		v, err := headerValue(key, raw)
		return []string{v}, err
	}
	var list []json.RawMessage
	_ = json.Unmarshal(raw, &list) // which is valid
	values := make([]string, len(list))
	for i, e := range list {
		var err error
		if values[i], err = headerValue(key, e); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// headerValue reads a string, or anything else as it is written.
func headerValue(key string, raw json.RawMessage) (string, error) {
	switch raw[0] {
	case '"':
		return unquote(raw), nil
	case '{', '[':
		return "", badHeader("%q is an object or an array in an array; give a string, or an array of them", key)
	}
	return string(raw), nil
}

// options returns what a call of the bus is told.
func (d *delivery) options() []bus.CallOption {
	var opts []bus.CallOption
	if d.localOnly {
		opts = append(opts, bus.LocalOnly())
	}
	return append(opts, headerOptions(d.header)...)
}

func headerOptions(h bus.Header) []bus.CallOption {
	var opts []bus.CallOption
	for k, vs := range h {
		for _, v := range vs {
			opts = append(opts, bus.WithHeader(k, v))
		}
	}
	return opts
}

// appendHeaders appends headers as an object, in order of their keys: each a string,
// or an array where it has several values.
func appendHeaders(b []byte, h bus.Header) []byte {
	keys := make([]string, 0, len(h))
	for k := range h {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, k), ':')
		b = appendValues(b, h[k])
	}
	return append(b, '}')
}

func appendValues(b []byte, values []string) []byte {
	if len(values) == 1 {
		return appendString(b, values[0])
	}
	b = append(b, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, v)
	}
	return append(b, ']')
}
