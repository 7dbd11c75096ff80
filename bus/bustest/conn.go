package bustest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is one end of a stream that [Pipe] made. It implements [net.Conn] with
// the manners of a TCP connection; its errors are *[net.OpError] but for
// [io.EOF]. Its methods may be called concurrently; writes that are concurrent
// do not mix their bytes.
//
// The methods Stall, Resume, Cut, SetDelay and SetRate are about the direction from this
// end to the other; for both directions call them on both ends.
type Conn struct {
	peer    *Conn
	addr    net.Addr
	in, out *lane

	mu            *sync.Mutex // the pipe's; guards all below and the lanes
	readable      *sync.Cond  // input, its end, an error or a deadline has come
	writable      *sync.Cond  // room, an error, a deadline or the turn to write has come
	readDeadline  deadline
	writeDeadline deadline
	writing       bool // a Write has its turn
	writeClosed   bool // by CloseWrite
	closed        bool // by Close
	wasReset      bool // by the other end, or by Reset
}

var _ net.Conn = (*Conn)(nil)

func newConn(mu *sync.Mutex, addr net.Addr) *Conn {
	return &Conn{addr: addr, mu: mu, readable: sync.NewCond(mu), writable: sync.NewCond(mu)}
}

// Read reads what has arrived, at most len(b) bytes, and waits while nothing
// has. It returns [io.EOF] when the other end closed its writing half and all
// before that has been read, an error that is [os.ErrDeadlineExceeded] once the
// read deadline has passed, [syscall.ECONNRESET] after a reset, and
// [net.ErrClosed] after Close.
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.fail("read", net.ErrClosed)
		case len(b) == 0:
			return 0, nil
		case c.readDeadline.passed:
			return 0, c.fail("read", os.ErrDeadlineExceeded)
		case c.in.arrived.Len() > 0:
			n, _ := c.in.arrived.Read(b)
			c.peer.writable.Broadcast()
			return n, nil
		case c.wasReset:
			return 0, c.fail("read", syscall.ECONNRESET)
		case c.in.eof:
			return 0, io.EOF
		}
		c.readable.Wait()
	}
}

// Write writes all of b and waits while there is no room for it, or while
// another Write is at it. With an error it returns how many bytes it wrote:
// [os.ErrDeadlineExceeded] once the write deadline has passed,
// [syscall.ECONNRESET] after a reset, [syscall.EPIPE] after CloseWrite and
// [net.ErrClosed] after Close. It does not retain b.
//
// That a Write returns nil says, as for a socket, nothing about whether its
// bytes arrive. When they arrive at an end that is closed, this end is reset.
func (c *Conn) Write(b []byte) (n int, err error) {
	delay := c.drawDelay()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.writing {
		if err := c.cannotWrite(); err != nil {
			return 0, err
		}
		c.writable.Wait()
	}
	c.writing = true
	defer func() {
		c.writing = false
		c.writable.Broadcast()
	}()
	for {
		if err := c.cannotWrite(); err != nil {
			return n, err
		}
		if k := min(c.out.room(), len(b)-n); k > 0 {
			c.out.send(data, b[n:n+k], delay)
			n += k
		}
		if n == len(b) {
			return n, nil
		}
		if c.out.room() <= 0 {
			c.writable.Wait()
		}
	}
}

// cannotWrite returns why nothing can be written, or nil.
func (c *Conn) cannotWrite() error {
	switch {
	case c.closed:
		return c.fail("write", net.ErrClosed)
	case c.writeDeadline.passed:
		return c.fail("write", os.ErrDeadlineExceeded)
	case c.wasReset:
		return c.fail("write", syscall.ECONNRESET)
	case c.writeClosed:
		return c.fail("write", syscall.EPIPE)
	}
	return nil
}

// CloseWrite ends the stream from this end: the other reads what was written
// before, then [io.EOF]. Reading from this end goes on. Its error is
// [net.ErrClosed] after Close and [syscall.ECONNRESET] after a reset; calling
// it twice is none.
func (c *Conn) CloseWrite() error {
	delay := c.drawDelay()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return c.fail("close", net.ErrClosed)
	case c.wasReset:
		return c.fail("close", syscall.ECONNRESET)
	}
	c.endStream(delay)
	return nil
}

func (c *Conn) endStream(delay time.Duration) {
	if c.writeClosed {
		return
	}
	c.writeClosed = true
	c.out.send(endOfStream, nil, delay)
	c.writable.Broadcast()
}

// Close closes this end and makes its calls that wait return [net.ErrClosed].
// It does not wait: the other end reads what was written before, then [io.EOF].
//
// But when input has arrived that was not read, or when more arrives, the other
// end is reset, as TCP does it: it loses what it has not read, and its calls
// return [syscall.ECONNRESET].
//
// Close always returns nil; calling it again does nothing.
func (c *Conn) Close() error {
	delay := c.drawDelay()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	unread := c.in.arrived.Len() > 0
	c.closed = true
	c.readDeadline.stop()
	c.writeDeadline.stop()
	c.in.arrived.Reset()
	switch {
	case c.wasReset:
	case unread:
		c.out.dropFlight()
		c.out.send(reset, nil, delay)
	default:
		c.endStream(delay)
	}
	if c.peer.closed {
		c.in.clear()
		c.out.clear()
	}
	c.wakeAll()
	return nil
}

// onReset is the arrival of a reset. The caller holds mu.
func (c *Conn) onReset() {
	if c.closed || c.wasReset {
		return
	}
	c.wasReset = true
	c.in.clear()
	c.out.clear()
	c.wakeAll()
}

// wakeAll lets everybody who waits for anything of either end look again.
func (c *Conn) wakeAll() {
	for _, end := range []*Conn{c, c.peer} {
		end.readable.Broadcast()
		end.writable.Broadcast()
	}
}

// LocalAddr returns the address of this end; see [WithAddrs].
func (c *Conn) LocalAddr() net.Addr { return c.addr }

// RemoteAddr returns the address of the other end; see [WithAddrs].
func (c *Conn) RemoteAddr() net.Addr { return c.peer.addr }

// SetDeadline sets both deadlines; see [net.Conn]. Its error is
// [net.ErrClosed], after Close.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.readDeadline, &c.writeDeadline)
}

// SetReadDeadline sets when Read gives up, a Read that waits included; the zero
// time means never. A deadline that has passed fails every Read, even if there
// is input, until a later one is set. Its error is [net.ErrClosed], after Close.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.readDeadline)
}

// SetWriteDeadline is for Write what SetReadDeadline is for Read.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.writeDeadline)
}

func (c *Conn) setDeadlines(t time.Time, ds ...*deadline) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fail("set", net.ErrClosed)
	}
	for _, d := range ds {
		d.set(c, t)
	}
	return nil
}

func (c *Conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: c.addr.Network(), Source: c.addr, Addr: c.peer.addr, Err: err}
}

// A deadline tells whether a time has passed. The Conn's mu guards it.
type deadline struct {
	timer  *time.Timer
	passed bool
}

func (d *deadline) set(c *Conn, t time.Time) {
	d.stop()
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.pass(c)
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if d.timer == timer {
			d.pass(c)
		}
	})
	d.timer = timer
}

func (d *deadline) pass(c *Conn) {
	d.passed = true
	c.readable.Broadcast()
	c.writable.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
	*d = deadline{}
}
