package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// wsKeep is the most memory that a connection keeps for what it reads or writes next.
const wsKeep = 4 << 10

// wsWire carries frames over a WebSocket, each as a message, of the type that the
// client used last: browsers want text, and some clients read binary ones only.
type wsWire struct {
	conn   *websocket.Conn
	raw    net.Conn // for its deadlines
	limit  int
	binary atomic.Bool
	in     []byte
}

func (w *wsWire) read() ([]byte, error) {
	kind, r, err := w.conn.Reader(context.Background()) // bye and abort end it
	if err != nil {
		return nil, wsError(err)
	}
	w.binary.Store(kind == websocket.MessageBinary)
	b, err := readTo(w.in[:0], r)
	if cap(b) <= wsKeep {
		w.in = b
	}
	return b, wsError(err)
}

// readTo reads to the end of r, into b and memory that grows as it comes.
func readTo(b []byte, r io.Reader) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			grown := make([]byte, len(b), max(512, 2*cap(b)))
			copy(grown, b)
			b = grown
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch err {
		case nil:
		case io.EOF:
			return b, nil
		default:
			return b, err
		}
	}
}

// wsError says what an error of reading means: nil stays nil.
func wsError(err error) error {
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		return errGone
	}
	if errors.Is(err, websocket.ErrMessageTooBig) {
		return fmt.Errorf("%w: %w", ErrFrame, err) // the client has been told by the close code
	}
	return err
}

func (w *wsWire) write(frame []byte, deadline time.Time) error {
	return w.message(frame, deadline)
}

func (w *wsWire) pack(b, frame []byte) []byte { return append(b, frame...) }

func (w *wsWire) send(packed []byte, deadline time.Time) error { return w.message(packed, deadline) }

func (w *wsWire) form() form { return formWebSocket }

// message writes a WebSocket message.
func (w *wsWire) message(b []byte, deadline time.Time) error {
	kind := websocket.MessageText
	if w.binary.Load() {
		kind = websocket.MessageBinary
	}
	_ = w.raw.SetWriteDeadline(deadline)
	err := w.conn.Write(context.Background(), kind, b)
	_ = w.raw.SetWriteDeadline(time.Time{}) // pongs have their own
	return err
}

func (w *wsWire) open(time.Time) error { return nil }
func (w *wsWire) beat(time.Time) error { return nil }

func (w *wsWire) bye(reason error) {
	t := time.AfterFunc(linger, func() { _ = w.raw.Close() })
	defer t.Stop()
	_ = w.conn.Close(closeCode(reason), closeText(reason))
}

func (w *wsWire) abort() { _ = w.conn.CloseNow() }

// closeCode is the WebSocket's code for a reason.
func closeCode(reason error) websocket.StatusCode {
	switch {
	case errors.Is(reason, ErrClosed):
		return websocket.StatusGoingAway
	case errors.Is(reason, ErrFrame):
		return websocket.StatusMessageTooBig
	case reason == errGone:
		return websocket.StatusNormalClosure
	}
	return websocket.StatusPolicyViolation
}

// closeText is what the client reads: as much of it as a close frame holds.
func closeText(reason error) string {
	const most = 123
	s := reason.Error()
	if joined, ok := reason.(interface{ Unwrap() []error }); ok { // the hook's own words
		all := joined.Unwrap()
		s = all[len(all)-1].Error()
	}
	for len(s) > most {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// sockjsWire is the framing of SockJS: what the client sends is an array of strings,
// each a frame, and what it gets is one letter and, for "a", such an array.
type sockjsWire struct {
	*wsWire
	opened bool   // "o" was written
	rest   []byte // of the last message: an array of strings, from one of its items, comma or end on
	out    []byte
}

func (w *sockjsWire) read() ([]byte, error) {
	for {
		next, ok := w.next()
		if !ok {
			b, err := w.wsWire.read()
			if err != nil {
				return nil, err
			}
			if next, ok = w.begin(b); !ok {
				continue
			}
		}
		if len(next) > w.limit {
			return nil, fmt.Errorf("%w: a frame of %d bytes; the limit is %d", ErrFrame, len(next), w.limit)
		}
		return next, nil
	}
}

// begin takes over a message. It returns a frame if the message is one, or no array; the
// client is told that the latter is none.
func (w *sockjsWire) begin(b []byte) (frame []byte, ok bool) {
	switch i := space(b, 0); {
	case len(b) == 0: // which SockJS ignores
		return nil, false
	case !json.Valid(b):
		return b, true
	case b[i] == '"':
		return []byte(unquote(b[i:endOfString(b, i)])), true
	case b[i] == '[':
		w.rest = b[i+1:]
		return nil, false
	}
	return b, true
}

// next returns the next frame of an array, taken out of it only now: a message of very many
// small ones takes no more memory than it has. What is no string is no frame either.
func (w *sockjsWire) next() (frame []byte, ok bool) {
	i := space(w.rest, 0)
	if i < len(w.rest) && w.rest[i] == ',' {
		i = space(w.rest, i+1)
	}
	if i >= len(w.rest) || w.rest[i] == ']' {
		w.rest = nil
		return nil, false
	}
	end, ok := endOfValue(w.rest, i)
	if item := w.rest[i:end]; !ok || item[0] != '"' {
		frame = item
	} else {
		frame = []byte(unquote(item))
	}
	if w.rest = w.rest[end:]; !ok { // nested too deep: the others are lost with it
		w.rest = nil
	}
	return frame, true
}

// open tells the client that the connection is there: once, before all else.
func (w *sockjsWire) open(deadline time.Time) error {
	if w.opened {
		return nil
	}
	w.opened = true
	return w.message([]byte("o"), deadline)
}

func (w *sockjsWire) write(frame []byte, deadline time.Time) error {
	b := w.pack(w.out[:0], frame)
	if cap(b) <= wsKeep {
		w.out = b
	}
	return w.send(b, deadline)
}

func (w *sockjsWire) pack(b, frame []byte) []byte {
	return append(appendString(append(b, 'a', '['), frame), ']')
}

func (w *sockjsWire) send(packed []byte, deadline time.Time) error {
	if err := w.open(deadline); err != nil {
		return err
	}
	return w.message(packed, deadline)
}

func (w *sockjsWire) form() form { return formSockJS }

func (w *sockjsWire) beat(deadline time.Time) error {
	if !w.opened {
		return nil
	}
	return w.message([]byte("h"), deadline)
}

func (w *sockjsWire) bye(reason error) {
	deadline := time.Now().Add(linger)
	if w.open(deadline) == nil {
		b := strconv.AppendInt([]byte("c["), int64(closeCode(reason)), 10)
		_ = w.message(append(appendString(append(b, ','), closeText(reason)), ']'), deadline)
	}
	w.wsWire.bye(reason)
}
