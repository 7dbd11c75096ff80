package bridge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Whatever bytes come, a frame is taken apart as encoding/json does it, or refused with
// a word.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		`{"type":"send","address":"a","replyAddress":"r","headers":{"a":"b","c":["d",1]},"body":{"x":[1,2.5,"\"}"]}}`,
		`{"type":"ping"}`, `{}`, `[]`, `{"type":"send","failureCode":-1,"message":"m"}`, `{"a":1,"a":2}`, ` { "t\u0079pe" : null , "b" : true } `,
		`{"type":"s\ud834\udd1e"}`, "{\"type\":\"\xff\"}", `{"body":[[[[]]]]}`, `{"body":1e5,"type":"x"}`, `{`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseFrame(b)
		var r *refusal
		if err != nil {
			if !errors.As(err, &r) || r.code == "" {
				t.Fatalf("%q: %v", b, err)
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("%q was taken: %v", b, err)
		}
		for name, field := range map[string]string{"type": got.kind, "address": got.address, "replyAddress": got.replyAddress} {
			var s string
			if want[name] != nil {
				_ = json.Unmarshal(want[name], &s)
			}
			if s != field {
				t.Errorf("%q: %s is %q, not %q", b, name, field, s)
			}
		}
		if w := want["body"]; string(w) != "null" && string(w) != string(got.body) {
			t.Errorf("%q: the body is %q, not %q", b, got.body, w)
		}
		if _, err := parseHeaders(got.headers); err != nil && !errors.As(err, &r) {
			t.Errorf("%q: %v", b, err)
		}
	})
}

// input is a connection from which bytes come, a few at a time.
type input struct {
	net.Conn
	r    io.Reader
	step int
}

func (c input) Read(b []byte) (int, error)      { return c.r.Read(b[:min(len(b), c.step)]) }
func (c input) SetReadDeadline(time.Time) error { return nil }

// Whatever bytes come over TCP, in whatever pieces, they are the frames that their
// lengths say, and then an error.
func FuzzTCP(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}\x00\x00\x00\x00\x00\x00\x00\x03abc"), 1)
	f.Add([]byte("\xff\xff\xff\xff{}"), 3)
	f.Add(append([]byte{0, 0, 0x20, 0}, make([]byte, 0x2000)...), 4096)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		const limit = 10_000
		conn := input{r: bytes.NewReader(b), step: max(1, step)}
		w := &tcpWire{conn: conn, r: bufio.NewReaderSize(conn, tcpBuffer), limit: limit, patience: time.Second}
		for {
			frame, err := w.read()
			if err != nil {
				if n := len(b); n >= lengthSize && errors.Is(err, ErrFrame) != (binary.BigEndian.Uint32(b) > limit) {
					t.Errorf("%x: %v", b[:lengthSize], err)
				}
				return
			}
			n := int(binary.BigEndian.Uint32(b))
			if !bytes.Equal(frame, b[lengthSize:lengthSize+n]) {
				t.Fatalf("%q came for %q", frame, b[lengthSize:lengthSize+n])
			}
			b = b[lengthSize+n:]
		}
	})
}

// A text comes out of a JSON string as it went in.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\b\f\n\r\t\x00\x1f\x7f", "𝄞\u2028<&>", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		if want := string([]rune(s)); got != want {
			t.Errorf("%q became %q", s, got)
		}
	})
}

// What is allowed to have a field has it, whatever the body looks like.
func FuzzMatch(f *testing.F) {
	f.Add([]byte(`{"kind":"query","n":{"a":1}}`))
	f.Add([]byte(`{"kind":"query","kind":"other"}`))
	f.Add([]byte(`{"n":{"a":1.0,"b":[1,{"c":2}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := object(b)
		if err != nil {
			return
		}
		var std map[string]any
		if err := json.Unmarshal(b, &std); err != nil {
			t.Fatalf("%q was taken: %v", b, err)
		}
		if !contains(m, m) || len(std) != len(m) {
			t.Errorf("%q does not contain itself", b)
		}
	})
}

// FuzzSockJS takes the frames out of a message: those of an array, as package json finds
// them, or one.
func FuzzSockJS(f *testing.F) {
	for _, s := range []string{``, `["a"]`, ` [ "a" , "\"\u0062" ] `, `"a"`, `[1,{"a":["]"]},null]`, `{`, `[`, `true`, "[\"\xff\"]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var w sockjsWire
		var got []string
		if one, ok := w.begin(b); ok {
			got = append(got, string(one))
		}
		for next, ok := w.next(); ok; next, ok = w.next() {
			got = append(got, string(next))
		}
		var list []json.RawMessage
		if err := json.Unmarshal(b, &list); err != nil || list == nil {
			if len(got) != 1 && len(b) > 0 {
				t.Fatalf("%q: %d frames", b, len(got))
			}
			return
		}
		if len(list) < len(got) || len(list) > len(got) && !strings.Contains(string(b), strings.Repeat("[", 2)) && !strings.Contains(string(b), "{") {
			t.Fatalf("%q: %d frames, not %d", b, len(got), len(list))
		}
		for i, frame := range got {
			var s string
			if json.Unmarshal(list[i], &s) == nil && list[i][0] == '"' && utf8.ValidString(frame) && s != frame {
				t.Fatalf("%q: frame %d is %q, not %q", b, i, frame, s)
			}
		}
	})
}
