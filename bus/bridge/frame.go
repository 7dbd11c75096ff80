package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// frame is what a client says: a JSON object. Its fields point into the bytes that it
// was parsed from.
type frame struct {
	kind, address, replyAddress string
	headers, body               json.RawMessage // nil: none, or null
	failed                      bool            // there is a failure code
	failureCode                 int
	message                     string
}

// maxDepth is how deep the values of a frame may be nested.
const maxDepth = 1000

// parseFrame takes a frame apart. The error is a *refusal.
func parseFrame(b []byte) (frame, error) {
	var f frame
	if !utf8.Valid(b) {
		return f, &refusal{code: invalidJSON, detail: "the frame is not UTF-8"}
	}
	if !json.Valid(b) {
		return f, &refusal{code: invalidJSON, detail: syntaxError(b)}
	}
	seen := 0
	err := fields(b, func(key, value []byte) error {
		i := fieldOf(key)
		if i < 0 {
			return nil
		}
		if seen&(1<<i) != 0 {
			return &refusal{code: invalidJSON, detail: fmt.Sprintf("field %s is given twice", key)}
		}
		seen |= 1 << i
		return f.set(i, value)
	})
	return f, err
}

func syntaxError(b []byte) string {
	var v json.RawMessage
	if err := json.Unmarshal(b, &v); err != nil {
		return err.Error()
	}
	return ""
}

var fieldNames = [...]string{`"type"`, `"address"`, `"replyAddress"`, `"headers"`, `"body"`, `"failureCode"`, `"message"`}

// fieldOf returns which field a key, as it is written, stands for; -1 for none of the
// protocol's.
func fieldOf(key []byte) int {
	if bytes.IndexByte(key, '\\') >= 0 { // written with escapes, as nobody does
		key = appendString(nil, unquote(key))
	}
	for i, name := range fieldNames {
		if string(key) == name {
			return i
		}
	}
	return -1
}

// set takes over one field.
func (f *frame) set(i int, value []byte) error {
	if string(value) == "null" {
		return nil
	}
	isText := value[0] == '"'
	switch i {
	case 0:
		if !isText {
			return &refusal{code: invalidType, detail: "type is not a string"}
		}
		f.kind = unquote(value)
	case 1:
		if !isText {
			return &refusal{code: missingAddress, detail: "address is not a string"}
		}
		f.address = unquote(value)
	case 2:
		if !isText {
			return &refusal{code: invalidReplyAddress, detail: "replyAddress is not a string"}
		}
		f.replyAddress = unquote(value)
	case 3:
		if value[0] != '{' {
			return &refusal{code: invalidHeader, detail: "headers are not an object"}
		}
		f.headers = value
	case 4:
		f.body = value
	case 5:
		f.failed = true
		if err := json.Unmarshal(value, &f.failureCode); err != nil {
			return &refusal{code: invalidJSON, detail: "failureCode is not an integer"}
		}
	case 6:
		if isText {
			f.message = unquote(value)
		}
	}
	return nil
}

var errNotObject = errors.New("the frame is not a JSON object")

// fields calls f with each key, quoted, and value of a JSON object that is valid.
func fields(b []byte, f func(key, value []byte) error) error {
	i := space(b, 0)
	if b[i] != '{' {
		return &refusal{code: invalidJSON, detail: errNotObject.Error()}
	}
	for i = space(b, i+1); b[i] != '}'; {
		start := i
		i = endOfString(b, i)
		key := b[start:i]
		start = space(b, space(b, i)+1) // behind the colon
		var ok bool
		if i, ok = endOfValue(b, start); !ok {
			return &refusal{code: invalidJSON, detail: fmt.Sprintf("nested deeper than %d", maxDepth)}
		}
		if err := f(key, b[start:i]); err != nil {
			return err
		}
		if i = space(b, i); b[i] == ',' {
			i = space(b, i+1)
		}
	}
	return nil
}

// space returns where the white space that begins at i ends.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// endOfString returns the index behind the string that begins at i.
func endOfString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// endOfValue returns the index behind the value that begins at i, unless it is
// nested too deep.
func endOfValue(b []byte, i int) (end int, ok bool) {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = endOfString(b, i) - 1
		case '{', '[':
			if depth++; depth > maxDepth {
				return i, false
			}
			continue
		case '}', ']':
			if depth == 0 { // of what holds a number or a literal
				return i, true
			}
			depth--
		case ',', ' ', '\n', '\t', '\r', ':':
			if depth == 0 {
				return i, true
			}
			continue
		default: // within a number or a literal
			continue
		}
		if depth == 0 {
			return i + 1, true
		}
	}
	return i, true
}

// unquote returns the text of a JSON string that is valid.
func unquote(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1])
	}
	var s string
	_ = json.Unmarshal(b, &s) // which is valid
	return s
}

const hexDigits = "0123456789abcdef"

// appendString appends s, which is UTF-8, as a JSON string.
func appendString[T string | []byte](b []byte, s T) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}
