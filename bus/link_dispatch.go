package bus

import (
	"fmt"

	"github.com/runrig-go/runrig/bus/internal/frame"
	"github.com/runrig-go/runrig/bus/internal/recycle"
)

// receiver is what a link does with what comes. All of it is the reader's goroutine's.
type receiver struct {
	*link
	reader

	// A run: messages in sequence for one consumer, which are delivered together.
	to     *inbound
	run    [runMax]entry
	extra  [runMax]extra
	n      int
	bodies [recycle.BlockSize]byte // bodies up to smallBody, one after the other
	small  int                     // how much of bodies is used

	times      peerTime
	bulksIn    map[uint64]*bulkIn
	handedOver int64   // bytes that the peer has handed over to this node
	pace       float64 // bytes a nanosecond at which the last large body came; 0: not known
}

func newReceiver(l *link) *receiver {
	r := &receiver{link: l}
	r.reader = reader{sink: r, conn: l.conn, clk: &l.clock, ear: &l.ear, tcp: l.raw != nil}
	return r
}

func (r *receiver) handleRoutes(b []byte) error {
	r.endRun()
	whole, err := r.routes.got(b)
	if whole {
		r.owner.linkUp(r.link)
	}
	return err
}

func (r *receiver) place(kind int, f *frame.Frame, size int) []byte {
	if kind == frame.Chunk {
		if b := r.bulksIn[f.Bulk()]; b != nil {
			return b.place(size, r.now)
		}
		return nil
	}
	return r.link.bodies.Get(size)
}

// handle does what a frame other than ROUTES asks for; owned says that its body is not in
// the read buffer. An error is what a peer may not say (rule 18): it ends the link. bye says
// that the frame is GOODBYE.
func (r *receiver) handle(kind int, f *frame.Frame, owned bool) (bye bool, err error) {
	if kind == frame.Msg {
		return false, r.message(f, owned)
	}
	r.endRun()
	switch kind {
	case frame.Reply:
		r.gotReply(f, owned)
	case frame.Credit:
		err = r.routes.gotCredit(f)
	case frame.RoutesAck:
		err = r.announcer.gotAck(f.Seq())
	case frame.RoutesDone:
		r.routes.gotDone(f.Route())
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
		err = r.inbounds.gotRest(f)
	case frame.ChunkAck:
		err = r.gotChunkAck(f)
	case frame.BulkReset:
		if f.Refused() != 0 {
			r.ends.gotRefused(f)
		} else {
			r.gotBulkReset(f)
		}
	default:
		err = fmt.Errorf("%w: frame of unknown type %d", frame.ErrMalformed, kind)
	}
	return false, err
}
