package bus

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

const (
	writeLimit    = 10 * time.Second // that a write may take, or half of it
	writePart     = 256 << 10        // bytes of one
	writePartLast = 64 << 10         // the same if one that runs out of time ends the link
)

// output is the connection of a link, to be written to. But for conn, raw, clk and cut it
// belongs to the goroutine that has made the writer's state writeRunning.
type output struct {
	conn net.Conn
	raw  syscall.RawConn // nil: no write that does not wait is to be had
	clk  *clock
	cut  atomic.Bool // a chunk is to be given back: see cutShort

	writeBy  int64  // the deadline of writes, by the bus's clock
	now      []byte // what is written without waiting
	wroteNow int    // of it
	tryOnce  func(fd uintptr) bool
	parts    [3][]byte
	pad      [2 * frame.Alignment]byte
	vector   net.Buffers
}

func (o *output) connect(conn net.Conn) {
	o.conn = conn
	if t, ok := conn.(*net.TCPConn); ok {
		o.raw = rawConn(t)
	}
	o.tryOnce = func(fd uintptr) bool {
		o.wroteNow = writeNow(fd, o.now)
		return true // it never waits; an error shows again at the next write
	}
}

// write writes a part and returns how much of it is written. If it is to be now,
// what the kernel does not take at once is left. Else frames in turn are left where
// the connection takes them slowly, so that others can go before them.
func (o *output) write(p part, begin int64, now bool) (n int, err error) {
	o.extend(begin)
	if now {
		o.now, o.wroteNow = p.b, 0
		err = o.raw.Write(o.tryOnce)
		o.now = nil
		return o.wroteNow, err
	}
	if p.bulk != nil {
		return o.writeChunk(p)
	}
	for _, b := range [2][]byte{p.b, p.after} {
		inTurn := !p.first || n > 0
		for len(b) > 0 {
			k, err := o.conn.Write(b[:min(len(b), o.writePart())])
			b, n = b[k:], n+k
			if err != nil && !o.goesOn(k, err) {
				return n, err
			}
			now := begin
			if len(b) > 0 {
				now = o.clk.now()
				o.extend(now)
			}
			if inTurn && len(b) > paceLeast && now-begin > int64(paceTime) {
				return n, nil
			}
		}
	}
	return n, nil
}

// writeChunk writes a part with a piece of a large body, unless it is cut short.
func (o *output) writeChunk(p part) (n int, err error) {
	defer func() { o.parts, o.vector = [3][]byte{}, nil }()
	pad := frame.AppendPad(o.pad[:0], len(p.b)+len(p.chunk))
	parts := append(o.parts[:0], p.b)
	for chunk := p.chunk; len(chunk) > 0; parts = o.parts[:0] {
		k := min(len(chunk), o.writePart())
		parts = append(parts, chunk[:k])
		if chunk = chunk[k:]; len(chunk) == 0 && len(pad) > 0 {
			parts = append(parts, pad)
		}
		for o.vector = parts; len(o.vector) > 0; {
			if o.cut.Load() {
				return n, nil
			}
			k, err := o.vector.WriteTo(o.conn)
			n += int(k)
			if err != nil && !o.cut.Load() && !o.goesOn(int(k), err) {
				return n, err
			}
			o.extend(o.clk.now())
		}
	}
	return n, nil
}

// cutShort has the goroutine that writes give back the memory that it was lent, whatever
// the connection takes. It writes the rest of the chunk out of a copy. The caller holds the
// writer's lock, so that the write's deadline is put off again only when that is seen.
func (o *output) cutShort() {
	o.cut.Store(true)
	_ = o.conn.SetWriteDeadline(time.Unix(1, 0))
}

// cutOver goes on after a write that may have been cut short.
func (o *output) cutOver() {
	if o.cut.CompareAndSwap(true, false) {
		o.writeBy = 0
	}
}

// writePart returns how many bytes to write at a time.
func (o *output) writePart() int {
	if o.raw == nil {
		return writePartLast
	}
	return writePart
}

// goesOn reports whether a write goes on that has ended after n bytes with an
// error: it was slow, and the connection is not one of TLS, which a write that runs
// out of time spoils.
func (o *output) goesOn(n int, err error) bool {
	return o.raw != nil && n > 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// extend puts off the time by which a write must have ended: a peer that does
// not read for so long is no good, even if it writes.
func (o *output) extend(now int64) {
	if o.writeBy-now < int64(writeLimit/2) {
		o.writeBy = now + int64(writeLimit)
		_ = o.conn.SetWriteDeadline(time.Now().Add(writeLimit))
	}
}

func closeWrite(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite() // the connection is closed anyway, a little later
	}
}
