package bus

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

const (
	readBuffer = 64 << 10
	readFirst  = 1 << 10           // of a link that has little to read
	readLittle = 64                // bytes of a read that are little, as a heartbeat
	restAfter  = 5 * time.Second   // how long a link reads little before it gives memory back
	readAhead  = 2 << 10           // what is read beside a large body, before the next
	directBody = frame.AlignedBody // a frame so large is not read into the buffer
)

// reader takes frames from a link's connection. It waits for input and nothing else.
type reader struct {
	sink sink
	conn net.Conn
	clk  *clock
	ear  *ear
	tcp  bool // a read returns all that there is, up to what it has room for

	in    []byte
	r, w  int   // in[r:w] is not handled yet
	now   int64 // when the last read returned
	used  int64 // when one brought more than a little, or memory was given back
	large bool  // the last frame had a large body: another may follow
	f     frame.Frame
}

// sink is what a reader gives its frames to, one by one.
type sink interface {
	// handle handles the frame that has been read; owned says that its body is not part
	// of the read buffer. bye says that it is the last one.
	handle(kind int, f *frame.Frame, owned bool) (bye bool, err error)

	// handleRoutes handles a ROUTES, which has a form of its own.
	handleRoutes(b []byte) error

	// place returns memory for a body, which is read to where it belongs; nil if it is
	// wrong, and will be seen to be.
	place(kind int, f *frame.Frame, size int) []byte

	// deliver hands over what has been handled, before the reader waits for input.
	deliver()

	// giveBack gives back memory, as there has been little to read for a while.
	giveBack()
}

// ear is what others see of a link's reader.
type ear struct {
	listens  atomic.Bool  // it waits for input
	lastRead atomic.Int64 // by the bus's clock
	bytes    atomic.Uint64
}

// read reads frames until the link ends. It returns nil after GOODBYE.
func (r *reader) read() error {
	r.in = make([]byte, readFirst)
	for {
		to := r.in[r.w:]
		if r.large {
			to = to[:min(len(to), readAhead)]
		}
		n, err := r.fill(to)
		r.w += n
		bye, ferr := r.frames()
		r.sink.deliver()
		if r.tcp && n < len(to) { // there is no more: those for whom this was go first
			runtime.Gosched()
		}
		switch {
		case ferr != nil:
			return ferr
		case bye:
			return nil
		case err != nil:
			return readError(err)
		}
		r.w = copy(r.in, r.in[r.r:r.w])
		r.r = 0
		if err := r.grow(n == len(to)); err != nil {
			return err
		}
		if n > readLittle {
			r.used = r.now
		} else if r.w == 0 && r.now-r.used >= int64(restAfter) {
			r.giveBack()
		}
	}
}

// giveBack gives back memory that was of use when there was more to read.
func (r *reader) giveBack() {
	r.used = r.now
	if len(r.in) > readFirst {
		r.in = make([]byte, readFirst)
	}
	r.sink.giveBack()
}

func readError(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading: %w", err)
}

// fill reads once.
func (r *reader) fill(b []byte) (int, error) {
	r.ear.listens.Store(true)
	n, err := r.conn.Read(b)
	r.now = r.clk.now()
	r.ear.lastRead.Store(r.now)
	r.ear.bytes.Add(uint64(n))
	r.ear.listens.Store(false)
	return n, err
}

// grow makes the buffer larger if a read has filled it, or for a frame that is
// larger.
func (r *reader) grow(filled bool) error {
	size := len(r.in)
	if filled && !r.large && size < readBuffer {
		size *= 2
	}
	r.large = r.large && !filled
	_, _, end, err := frame.Next(r.in[:r.w])
	if size = max(size, end); size > len(r.in) {
		r.in = append(make([]byte, 0, size), r.in[:r.w]...)[:size]
	}
	return err
}

// frames handles the whole frames that are there.
func (r *reader) frames() (bye bool, err error) {
	for {
		b := r.in[r.r:r.w]
		kind, begin, end, err := frame.Next(b)
		switch {
		case err != nil || end == 0:
			return false, err
		case end > len(b) && end >= directBody && len(b) > begin:
			done, err := r.direct(kind, b[begin:], end-begin)
			if err != nil || !done {
				return false, err
			}
			continue
		case end > len(b):
			return false, nil
		}
		if bye, err = r.whole(kind, b[begin:end]); bye || err != nil {
			return bye, err
		}
		r.r += end
	}
}

// direct reads what is missing of a frame's body to where it belongs. It reports
// false if more of the frame must be in the buffer first, or all of it.
func (r *reader) direct(kind int, b []byte, size int) (done bool, err error) {
	if kind != frame.Msg && kind != frame.Reply && kind != frame.Chunk {
		return false, nil
	}
	missing, err := r.f.ParsePart(b, size)
	if err != nil || missing <= 0 {
		return false, err
	}
	have := len(r.f.Body)
	if err := checkBody(kind, have+missing); err != nil {
		return false, err
	}
	to := r.sink.place(kind, &r.f, have+missing)
	if to == nil {
		return false, nil // it is wrong, and will be seen to be
	}
	copy(to, r.f.Body)
	r.sink.deliver() // what came before does not wait for the rest
	for have < len(to) {
		n, err := r.fill(to[have:])
		have += n
		if err != nil && have < len(to) {
			return false, readError(err)
		}
	}
	r.r, r.w, r.large = 0, 0, true
	r.f.Body = to
	_, err = r.handle(kind, true)
	return true, err
}

// checkBody checks that a body may come in one piece (rule 18).
func checkBody(kind, size int) error {
	if size > chunked && kind != frame.Chunk {
		return fmt.Errorf("%w: body of %d bytes in a frame; the limit is %d", frame.ErrMalformed, size, chunked)
	}
	return nil
}

// whole handles a frame that is whole in the buffer.
func (r *reader) whole(kind int, b []byte) (bye bool, err error) {
	switch kind {
	case frame.Pad:
		return false, nil
	case frame.Routes:
		return false, r.sink.handleRoutes(b)
	}
	if err := r.f.Parse(b); err != nil {
		return false, err
	}
	return r.handle(kind, false)
}

// handle (rule 18) hands a frame on, unless its body may not come in one piece.
func (r *reader) handle(kind int, owned bool) (bye bool, err error) {
	if err := checkBody(kind, len(r.f.Body)); err != nil {
		return false, err
	}
	return r.sink.handle(kind, &r.f, owned)
}
