package bus

import (
	"fmt"
	"io"
	"runtime"

	"github.com/runrig-go/runrig/bus/internal/frame"
	"github.com/runrig-go/runrig/bus/internal/recycle"
)

const (
	readBuffer = 64 << 10
	readFirst  = 4 << 10           // of a link that has little to read
	readAhead  = 2 << 10           // what is read beside a large body, before the next
	directBody = frame.AlignedBody // a frame so large is not read into the buffer
)

// reader takes frames from the connection. It waits for input and nothing else.
type reader struct {
	*link
	in    []byte
	r, w  int   // in[r:w] is not handled yet
	now   int64 // when the last read returned
	large bool  // the last frame had a large body: another may follow
	f     frame.Frame

	// A run: messages in sequence for one consumer, which are delivered together.
	to     *inbound
	run    [runMax]entry
	extra  [runMax]extra
	n      int
	bodies [recycle.BlockSize]byte // bodies up to smallBody, one after the other
	small  int                     // how much of bodies is used

	bulksIn map[uint64]*bulkIn
	pace    float64 // bytes a nanosecond at which the last large body came; 0: not known
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
		r.deliver()
		if r.raw != nil && n < len(to) { // there is no more: those for whom this was go first
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
	}
}

func readError(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading: %w", err)
}

// fill reads once.
func (r *reader) fill(b []byte) (int, error) {
	r.listens.Store(true)
	n, err := r.conn.Read(b)
	r.now = r.clock.now()
	r.lastRead.Store(r.now)
	r.listens.Store(false)
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
		if bye, err = r.frame(kind, b[begin:end]); bye || err != nil {
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
	to := r.place(kind, have+missing)
	if to == nil {
		return false, nil // it is wrong, and will be seen to be
	}
	copy(to, r.f.Body)
	r.deliver() // what came before does not wait for the rest
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

// checkBody checks that a body may come in one piece.
func checkBody(kind, size int) error {
	if size > chunked && kind != frame.Chunk {
		return fmt.Errorf("%w: body of %d bytes in a frame; the limit is %d", frame.ErrMalformed, size, chunked)
	}
	return nil
}

// place returns memory for a body.
func (r *reader) place(kind, size int) []byte {
	if kind == frame.Chunk {
		if b := r.bulksIn[r.f.Bulk()]; b != nil {
			return b.place(size, r.now)
		}
		return nil
	}
	return r.link.bodies.Get(size)
}

func (r *reader) frame(kind int, b []byte) (bye bool, err error) {
	if kind == frame.Pad {
		return false, nil
	}
	if kind == frame.Routes {
		r.endRun()
		return false, r.gotRoutes(b)
	}
	if err := r.f.Parse(b); err != nil {
		return false, err
	}
	return r.handle(kind, false)
}

// handle handles the frame that has been read; owned says that its body is not
// part of the read buffer.
func (r *reader) handle(kind int, owned bool) (bye bool, err error) {
	f := &r.f
	if err := checkBody(kind, len(f.Body)); err != nil {
		return false, err
	}
	if kind == frame.Msg {
		return false, r.message(f, owned)
	}
	r.endRun()
	switch kind {
	case frame.Reply:
		r.gotReply(f, owned)
	case frame.Credit:
		err = r.gotCredit(f)
	case frame.RoutesAck:
		err = r.gotRoutesAck(f.Seq())
	case frame.RoutesDone:
		r.gotRoutesDone(f.Route())
	case frame.Cancel:
		r.gotCancel(f)
	case frame.Bounce:
		err = r.gotBounce(f, owned)
	case frame.Handover:
		err = r.gotHandover(f, owned)
	case frame.Ping:
		r.gotPing(f)
	case frame.Pong:
		r.gotPong(f)
	case frame.Time:
		r.gotTime(f)
	case frame.Leaving:
		r.gotLeaving()
	case frame.LeavingOK:
		r.gotLeavingOK()
	case frame.Goodbye:
		return true, nil
	case frame.Bulk:
		err = r.gotBulk(f)
	case frame.BulkGo:
		err = r.gotBulkGo(f)
	case frame.Chunk:
		err = r.gotChunk(f)
	case frame.Rest:
		err = r.gotRest(f)
	case frame.ChunkAck:
		err = r.gotChunkAck(f)
	case frame.BulkReset:
		if f.Refused() != 0 {
			r.gotBulkRefused(f)
		} else {
			r.gotBulkReset(f)
		}
	default:
		err = fmt.Errorf("%w: frame of unknown type %d", frame.ErrMalformed, kind)
	}
	return false, err
}
