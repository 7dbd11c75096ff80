package bridge

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Over TCP a frame is its length, four bytes, big endian, and that many of JSON.
const lengthSize = 4

const (
	tcpBuffer     = 4 << 10          // of reading: what fits into it costs no other memory
	acceptWait    = 5 * time.Second  // at most, before the listener is asked again after an error
	handshakeWait = 10 * time.Second // for that of TLS
)

// ServeTCP takes the connections of a listener, which may be one of TLS or of unix
// sockets, until the bridge is closed ([ErrClosed]) or the listener fails. It closes
// the listener.
func (b *Bridge) ServeTCP(l net.Listener) error {
	if !b.listens(l) {
		_ = l.Close()
		return ErrClosed
	}
	defer b.running.Done()
	defer b.unlisten(l)
	wait := 5 * time.Millisecond
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			wait = 5 * time.Millisecond
			b.running.Go(func() { b.serveConn(conn) }) // until the handshake is over; then it is a session's
			continue
		case b.isClosed():
			return ErrClosed
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("bridge: listener at %s: %w", l.Addr(), err)
		}
		b.log.Warn("bridge: a connection could not be accepted", "addr", l.Addr(), "err", err)
		select {
		case <-time.After(wait):
		case <-b.ctx.Done():
		}
		wait = min(2*wait, acceptWait)
	}
}

func (b *Bridge) listens(l net.Listener) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.listeners[l] = struct{}{}
	b.running.Add(1)
	return true
}

func (b *Bridge) unlisten(l net.Listener) {
	_ = l.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.listeners, l)
}

func (b *Bridge) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// serveConn makes a session of a connection, after its TLS handshake if it has one.
func (b *Bridge) serveConn(conn net.Conn) {
	if !b.mayConnect() {
		_ = conn.Close()
		return
	}
	c := &Client{Transport: "tcp", Remote: conn.RemoteAddr()}
	if t, ok := conn.(*tls.Conn); ok {
		ctx, cancel := context.WithTimeout(b.ctx, handshakeWait)
		defer cancel()
		if err := t.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return
		}
		state := t.ConnectionState()
		c.TLS = &state
	}
	w := &tcpWire{conn: conn, r: bufio.NewReaderSize(conn, tcpBuffer), limit: b.limits.Frame, patience: b.limits.Read}
	b.start(c, dialect{tcp: true}, w, 0, b.limits.TCPPingTimeout)
}

// tcpWire carries frames over a TCP connection.
type tcpWire struct {
	conn     net.Conn
	r        *bufio.Reader
	limit    int
	patience time.Duration
	passed   int // bytes of r that the last frame has, and the next one begins behind
	out      []byte
}

// read returns the next frame.
func (w *tcpWire) read() ([]byte, error) {
	if _, err := w.r.Discard(w.passed); err != nil {
		return nil, err
	}
	w.passed = 0
	switch _, err := w.r.Peek(1); err {
	case nil:
	case io.EOF:
		return nil, errGone
	default:
		return nil, err
	}
	if w.buffered() {
		return w.frame()
	}
	if w.patience > 0 {
		_ = w.conn.SetReadDeadline(time.Now().Add(w.patience))
	}
	b, err := w.frame()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, w.broken(frameTooSlow, "a frame has begun and is not whole after %v", w.patience)
	}
	_ = w.conn.SetReadDeadline(time.Time{})
	return b, err
}

// buffered reports whether a whole frame is there already.
func (w *tcpWire) buffered() bool {
	n := w.r.Buffered()
	if n < lengthSize {
		return false
	}
	head, _ := w.r.Peek(lengthSize) // which is there
	return uint64(n-lengthSize) >= uint64(binary.BigEndian.Uint32(head))
}

// frame reads a frame. One that does not fit into the buffer is read as it comes, so
// that a length alone takes no memory.
func (w *tcpWire) frame() ([]byte, error) {
	head, err := w.r.Peek(lengthSize)
	if err != nil {
		return nil, err
	}
	length := int64(int32(binary.BigEndian.Uint32(head)))
	if length < 0 || length > int64(w.limit) {
		return nil, w.broken(frameTooLarge, "a frame of %d bytes; the limit is %d", length, w.limit)
	}
	if n := lengthSize + int(length); n <= tcpBuffer {
		b, err := w.r.Peek(n)
		if err != nil {
			return nil, err
		}
		w.passed = n
		return b[lengthSize:], nil
	}
	_, _ = w.r.Discard(lengthSize) // which is there
	return readAll(io.LimitReader(w.r, length), int(length))
}

// readAll reads n bytes into memory that grows as they come.
func readAll(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, 0, min(n, 2*tcpBuffer))
	for {
		m, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+m]
		switch {
		case len(b) == n:
			return b, nil
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case len(b) == cap(b):
			grown := make([]byte, len(b), min(n, 4*cap(b)))
			copy(grown, b)
			b = grown
		}
	}
}

// broken is the error of what cannot be passed over.
func (w *tcpWire) broken(c code, format string, args ...any) error {
	detail := fmt.Sprintf(format, args...)
	return errors.Join(ErrFrame, &refusal{c, detail})
}

// write writes a frame with its length, as one, since some clients read at least four
// bytes at a time.
func (w *tcpWire) write(frame []byte, deadline time.Time) error {
	b := w.pack(w.out[:0], frame)
	if cap(b) <= tcpBuffer {
		w.out = b
	}
	return w.send(b, deadline)
}

func (w *tcpWire) pack(b, frame []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(frame))), frame...)
}

func (w *tcpWire) send(packed []byte, deadline time.Time) error {
	_ = w.conn.SetWriteDeadline(deadline)
	_, err := w.conn.Write(packed)
	return err
}

func (w *tcpWire) form() form { return formTCP }

func (w *tcpWire) open(time.Time) error { return nil }
func (w *tcpWire) beat(time.Time) error { return nil }

// bye ends the connection when the client has read to its end, or soon.
func (w *tcpWire) bye(error) {
	c, ok := w.conn.(interface{ CloseWrite() error })
	if !ok {
		w.abort()
		return
	}
	t := time.AfterFunc(linger, w.abort)
	defer t.Stop()
	_ = c.CloseWrite()
	_, _ = io.Copy(io.Discard, w.conn) // beside the reader, which has what it gets for nothing
	w.abort()
}

func (w *tcpWire) abort() { _ = w.conn.Close() }
