package bus

import (
	"maps"
	"slices"
	"strings"
)

// Header is the headers of a message: keys without regard to case, each with
// one or more values whose order is kept. Use its methods: the map's keys are
// in lower case. The headers of a message that was received are read-only.
type Header map[string][]string

// Get returns the first value of key, "" if there is none.
func (h Header) Get(key string) string {
	if v := h.Values(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Values returns all values of key. The slice is the header's own.
func (h Header) Values(key string) []string {
	if len(h) == 0 {
		return nil
	}
	return h[strings.ToLower(key)]
}

// Set makes value the only one of key.
func (h Header) Set(key, value string) { h[strings.ToLower(key)] = []string{value} }

// Add appends a value to those of key, which must not be empty in what is sent.
func (h Header) Add(key, value string) {
	key = strings.ToLower(key)
	h[key] = append(h[key], value)
}

// Del removes key.
func (h Header) Del(key string) { delete(h, strings.ToLower(key)) }

// Clone returns a deep copy.
func (h Header) Clone() Header {
	c := maps.Clone(h)
	for k, v := range c {
		c[k] = slices.Clone(v)
	}
	return c
}

// size returns the bytes of all keys and values, each value with its key, and the
// number of values.
func (h Header) size() (bytes, values int) {
	if len(h) == 0 { // ranging over nothing costs more than asking
		return 0, 0
	}
	for k, vs := range h {
		values += len(vs)
		for _, v := range vs {
			bytes += len(k) + len(v)
		}
	}
	return bytes, values
}
