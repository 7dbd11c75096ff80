package bridge

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// wire is a connection that carries frames.
type wire interface {
	// read returns the next frame, which is valid until the next call.
	read() ([]byte, error)

	// write writes a frame, by a deadline. It is called by one at a time.
	write(frame []byte, deadline time.Time) error

	// pack appends a frame as the connection carries it, and send, which is called like
	// write, writes that. Connections of one form pack the same.
	pack(b, frame []byte) []byte
	send(packed []byte, deadline time.Time) error
	form() form

	// open tells the client that it may begin; it is called like write.
	open(deadline time.Time) error

	// beat says that this end lives, where that is due; it is called like write.
	beat(deadline time.Time) error

	// bye ends the connection and tells the client why, for a second or a few; it
	// is called like write. What read waits for comes to its end.
	bye(reason error)

	// abort ends the connection at once.
	abort()
}

// form is how a connection carries frames.
type form uint8

const (
	formTCP form = iota
	formWebSocket
	formSockJS
	forms
)

// linger is how long a client has to read why it is cut.
const linger = time.Second

// session is what the bridge knows of a connection. Its goroutine reads; a handler
// of the bus, or whoever has something for the client, writes.
type session struct {
	bridge  *Bridge
	client  *Client
	dialect dialect
	conn    wire
	ctx     context.Context // ends with the connection
	cancel  context.CancelFunc
	running sync.WaitGroup // goroutines beside the reader's
	placed  chan struct{}  // a request is on its way, or at its end
	seen    atomic.Int64   // when a frame came, in ns
	busy    atomic.Bool    // one is being handled, or the hook is asked whether the client may begin

	outbox  outbox
	writing sync.Mutex

	mu            sync.Mutex
	reason        error // why it is at its end; nil: it is not
	registrations map[string]*registration
	answers       map[string]*answer // by reply address: requests to the client
	lastAnswer    uint64
	requests      int // of the client
	timers        []*time.Timer
}

// start begins a session, which is added to the bridge, unless that is closing.
func (b *Bridge) start(c *Client, d dialect, conn wire, beat, idle time.Duration) {
	s := &session{bridge: b, client: c, dialect: d, conn: conn, placed: make(chan struct{}, 1)}
	s.busy.Store(true) // until the client may begin
	s.ctx, s.cancel = context.WithCancel(context.Background())
	c.session = s
	if !b.add(s) {
		s.cancel()
		conn.abort()
		return
	}
	s.watch(beat, idle)
	go s.serve() // until the connection ends, which Bridge.Close awaits
}

// serve reads frames until the connection ends.
func (s *session) serve() {
	connected := false
	defer s.bridge.remove(s)
	defer func() { // also where a hook has ended the goroutine
		s.end()
		if connected {
			s.notifyClosed()
		}
	}()
	if err := s.authorize(s.ctx, &Event{Kind: Connect}); err != nil {
		s.bridge.stats.refused.Add(1)
		s.cut(errors.Join(ErrRefused, err), &refusal{rejected, err.Error()})
	} else {
		connected = true
		s.open()
	}
	s.heard()
	for {
		b, err := s.conn.read()
		if err != nil {
			s.cut(err, s.refusalOf(err))
			return
		}
		if s.ctx.Err() != nil {
			return
		}
		s.bridge.stats.framesIn.Add(1)
		s.bridge.stats.bytesIn.Add(uint64(len(b)))
		s.busy.Store(true)
		s.handle(b)
		s.heard()
	}
}

// heard notes that the client does not wait for the bridge from here on.
func (s *session) heard() {
	s.seen.Store(time.Now().UnixNano())
	s.busy.Store(false)
}

// open tells the client that it may begin.
func (s *session) open() {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.conn.open(s.deadline()); err != nil {
		s.writeFailed(err)
	}
}

// refusalOf says what the client is told of an error of reading.
func (s *session) refusalOf(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return nil
}

// maxAddress is how long an address of the bus may be.
const maxAddress = 255

// handle handles a frame.
func (s *session) handle(b []byte) {
	f, err := parseFrame(b)
	if err == nil {
		err = s.dispatch(&f)
	}
	if err != nil {
		s.refuse(err, f.address)
	}
}

// dispatch does what a frame says. The error is a *refusal.
func (s *session) dispatch(f *frame) (err error) {
	defer s.recovered("a call of the bus", &err) // an interceptor may panic
	switch {
	case f.kind == "":
		return &refusal{code: missingType}
	case f.kind == "ping":
		if pong := s.dialect.pong(); pong != nil {
			_ = s.write(pong)
		}
		return nil
	case f.kind != "send" && f.kind != "publish" && f.kind != "register" && f.kind != "unregister":
		return &refusal{code: invalidType, detail: "a type is send, publish, register, unregister or ping"}
	case f.address == "":
		return &refusal{code: missingAddress}
	case len(f.address) > maxAddress && f.kind != "register": // before any rule looks at it
		return &refusal{notSent, fmt.Sprintf("the address has %d bytes; the bus takes %d", len(f.address), maxAddress)}
	}
	switch f.kind {
	case "send":
		return s.send(f)
	case "publish":
		return s.publish(f)
	case "register":
		return s.register(f.address)
	}
	return s.unregister(f.address)
}

// refuse tells the client what is wrong with a frame.
func (s *session) refuse(err error, address string) {
	var r *refusal
	if !errors.As(err, &r) {
		r = &refusal{notSent, err.Error()}
	}
	switch r.code {
	case accessDenied, notLoggedIn, rejected:
		s.bridge.stats.denied.Add(1)
	default:
		s.bridge.stats.invalid.Add(1)
	}
	_ = s.write(s.dialect.appendRefusal(nil, r, address))
}

// write writes a frame to the client, and cuts one that does not take it.
func (s *session) write(frame []byte) error { return s.transmit(text(frame), false) }

// text makes a frame UTF-8, as a body may hold anything that looks like JSON.
func text(frame []byte) []byte {
	if utf8.Valid(frame) {
		return frame
	}
	return bytes.ToValidUTF8(frame, []byte("\uFFFD"))
}

// transmit writes a frame, which may be packed.
func (s *session) transmit(frame []byte, packed bool) error {
	s.writing.Lock()
	err := s.ctx.Err()
	switch {
	case err != nil:
	case packed:
		err = s.conn.send(frame, s.deadline())
	default:
		err = s.conn.write(frame, s.deadline())
	}
	s.writing.Unlock()
	if err != nil {
		s.writeFailed(err)
		return err
	}
	s.bridge.stats.framesOut.Add(1)
	s.bridge.stats.bytesOut.Add(uint64(len(frame)))
	return nil
}

func (s *session) writeFailed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrSlow
	}
	s.cut(err, nil)
}

// deadline is that of a write which begins now.
func (s *session) deadline() time.Time {
	if s.bridge.limits.Write < 0 {
		return time.Time{}
	}
	return time.Now().Add(s.bridge.limits.Write)
}

// cut ends the session for a reason, unless it has ended, and tells the client what
// was wrong with its last frame. It waits for nothing.
func (s *session) cut(reason error, last *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutLocked(reason, last)
}

func (s *session) cutLocked(reason error, last *refusal) {
	if s.reason != nil {
		return
	}
	if s.reason = reason; reason == nil {
		s.reason = errGone
	}
	for _, t := range s.timers {
		t.Stop()
	}
	s.count(reason)
	for _, r := range s.registrations { // before their handlers return: what waits goes to others
		if r.channel == nil {
			_ = r.consumer.Close() // which returns no error
		}
	}
	s.cancel()
	if errors.Is(reason, ErrSlow) {
		s.conn.abort()
		return
	}
	s.running.Go(func() { // bounded by the deadline of who writes, and that of bye
		s.writing.Lock()
		defer s.writing.Unlock()
		if last != nil {
			_ = s.conn.write(s.dialect.appendRefusal(nil, last, ""), s.deadline())
		}
		s.conn.bye(s.reason)
	})
}

var errGone = errors.New("the client has gone")

// count counts why a session ends.
func (s *session) count(reason error) {
	switch stats := &s.bridge.stats; {
	case errors.Is(reason, ErrIdle):
		stats.idle.Add(1)
	case errors.Is(reason, ErrSlow):
		stats.slow.Add(1)
	case errors.Is(reason, ErrFrame):
		stats.broken.Add(1)
	}
}

// end waits until nothing of the session is left. The reader calls it at last.
func (s *session) end() {
	s.cut(errGone, nil)
	s.unregisterAll()
	s.running.Wait()
	s.conn.abort()
}

func (s *session) notifyClosed() {
	reason := s.reason
	if reason == errGone {
		reason = nil
	}
	s.notify(Event{Kind: Closed, Reason: reason})
}

// watch sets timers that show the client that the bridge lives, and cut one that
// does not show it. They are stopped with the session.
func (s *session) watch(beat, idle time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if beat > 0 {
		s.every(beat, func() time.Duration {
			s.running.Go(func() { // bounded by the deadline of the write, and those before it
				s.writing.Lock()
				defer s.writing.Unlock()
				if err := s.conn.beat(s.deadline()); err != nil {
					s.writeFailed(err)
				}
			})
			return beat
		})
	}
	if idle > 0 {
		s.seen.Store(time.Now().UnixNano())
		s.every(idle, func() time.Duration {
			silent := time.Since(time.Unix(0, s.seen.Load()))
			switch {
			case s.busy.Load(): // what it says next waits here
				return idle
			case silent < idle:
				return idle - silent
			}
			s.cutLocked(ErrIdle, nil)
			return idle
		})
	}
}

// every calls f after d, and then after what f returns. The caller holds s.mu, as f's
// does.
func (s *session) every(d time.Duration, f func() time.Duration) {
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.reason != nil {
			return
		}
		if d := f(); s.reason == nil {
			t.Reset(d)
		}
	})
	s.timers = append(s.timers, t)
}

func base64JSON(b []byte) json.RawMessage {
	out := make([]byte, 2+base64.RawURLEncoding.EncodedLen(len(b)))
	out[0], out[len(out)-1] = '"', '"'
	base64.RawURLEncoding.Encode(out[1:], b)
	return out
}
