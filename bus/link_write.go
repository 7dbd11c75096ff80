package bus

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// The write side of a link is in one of these states.
const (
	// No goroutine writes. One that appends something wakes the writer's goroutine, or
	// writes what there is itself.
	writeIdle = iota

	// A goroutine is about to write: the writer's, for which there is a token in wake, or
	// that of a caller which lets others append theirs first. The first one to come, of
	// these or another, writes.
	writeWoken

	// A goroutine writes, and looks for more before it stops. The bytes that are being
	// written, and the fields of output, are its own; it lets go of mu during a write.
	writeRunning
)

// writer is the write side of a link: what is to be written, and which goroutine writes
// it. Any goroutine appends to the outbox, or to the large bodies, under mu. The one that
// has made state writeRunning takes it from there, a part at a time.
//
// mu is the lock of all of the link.
type writer struct {
	output
	peer      Peer
	source    source
	changes   changes
	wake      chan struct{} // of one: there is something to write
	finished  chan struct{} // closed when nothing is written any more
	lastWrite atomic.Int64  // by the bus's clock

	mu sync.Mutex
	outbox
	bulks    bulks
	pace     pace
	said     timeSaid
	appended int // replies since the last write
	state    uint8
	bytesOut uint64
	runs     bool  // the writer's goroutine is there, or none is to be: before begin, and when it has ended for good
	brief    bool  // it ends when it has written, as little is left to it
	woken    int   // how often it was woken since the last look
	bye      bool  // GOODBYE is written, or has come: no frame is appended any more
	err      error // the link has failed: no frame is appended any more
}

// source is the link, as its writer sees it. All its methods but fail are called with
// writer.mu held.
type source interface {
	crowded() bool       // others are about to append more
	admitWaitingLocked() // lets in what waits for room, or for a large body to end; lets go of the lock
	fail(error)          // ends the link
}

// changes is what is to be told of this node's consumers. Its methods are called with
// writer.mu held.
type changes interface {
	hasRoutes() bool // there are changes of routes to be told
	fill()           // appends them
}

func (w *writer) init(from source, peer Peer, c *clock) {
	w.source, w.peer, w.clk = from, peer, c
	w.wake, w.finished = make(chan struct{}, 1), make(chan struct{})
	w.runs = true
	w.pace.set(paceMost)
	w.lastWrite.Store(c.now())
}

// begin has what is queued written by a goroutine, from now on.
func (w *writer) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs = false
	if len(w.wake) > 0 {
		w.token()
	}
	w.wakeLocked()
}

// open reports whether frames may still be appended.
func (w *writer) open() bool { return w.err == nil && !w.bye }

// hasRoom reports whether the outbox has room for another message or reply.
func (w *writer) hasRoom() bool { return w.backlog() < w.pace.limit }

// underWay is the end of a large frame whose body was not all written: why says by what.
func (w *writer) underWay(what string, size int, why error) error {
	return fmt.Errorf("%w: %s was under way to %s, with %d bytes: %w", ErrBusy, what, w.peer.Name, size, why)
}

func messageTo(address string) string { return fmt.Sprintf("message to %q", address) }

// frameLocked appends a frame without a body, regardless of the room that there is.
func (w *writer) frameLocked(kind int, h *frame.Head) {
	switch {
	case !w.open():
	case overtakes(kind, h):
		w.first = frame.Append(w.first, kind, h, nil, nil, 0)
	default:
		w.buf = frame.Append(w.buf, kind, h, nil, nil, 0)
	}
}

func (w *writer) frame(kind int, h *frame.Head) {
	w.mu.Lock()
	w.frameLocked(kind, h)
	w.mu.Unlock()
}

// wakeLocked wakes the writer's goroutine if there is something to write and no
// goroutine is about to.
func (w *writer) wakeLocked() {
	if w.state != writeIdle || w.empty() && !w.changes.hasRoutes() && !w.hasChunk() && !w.bulks.ended {
		return
	}
	w.state = writeWoken
	w.token()
}

// token wakes the writer's goroutine, or starts it. The caller holds mu.
func (w *writer) token() {
	if w.woken++; !w.runs {
		w.runs = true
		go w.run() // ends as it says
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// soon has what is queued written by another goroutine.
func (w *writer) soon() {
	w.mu.Lock()
	w.wakeLocked()
	w.mu.Unlock()
}

// flush writes what is queued unless another goroutine is writing.
func (w *writer) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.raw == nil:
		w.wakeLocked()
	case w.state != writeRunning && !w.empty() && w.err == nil:
		w.writeLocked(inlineWrites)
	}
}

// flushCrowded is flush for a caller beside others, which it first lets append
// theirs.
func (w *writer) flushCrowded() {
	w.mu.Lock()
	mine := w.state == writeIdle && !w.empty()
	if mine {
		w.state = writeWoken // by this goroutine, which comes back
	}
	w.mu.Unlock()
	if mine {
		runtime.Gosched()
		w.flush()
	}
}

// run is the writer's goroutine. It writes what others leave to it, until the link has
// failed, or has said goodbye and all is written. It closes the write side in that case. On
// a link on which it has little to do it ends before, until there is something to write.
func (w *writer) run() {
	for range w.wake {
		w.mu.Lock()
		if w.appended > 0 || w.source.crowded() {
			w.mu.Unlock()
			runtime.Gosched() // others are about to append more
			w.mu.Lock()
		}
		if w.state == writeWoken {
			w.writeLocked(0)
		}
		over := w.err != nil || w.bye && w.state == writeIdle && w.empty()
		w.runs = over || !w.brief || w.state != writeIdle || len(w.wake) > 0
		ends := !w.runs
		w.mu.Unlock()
		if over {
			closeWrite(w.conn)
			close(w.finished)
		}
		if over || ends {
			return
		}
	}
}

const (
	inlineMax    = 32 << 10 // more is left to the writer
	inlineWrites = 2        // a caller writes at most so often
)

// writeLocked writes until there is nothing left. If most is not 0 it writes at most so
// often, and only what the kernel takes at once; the writer's goroutine writes the rest.
// It lets go of the lock while it writes.
func (w *writer) writeLocked(most int) {
	w.state = writeRunning
	for i := 0; w.err == nil; i++ {
		w.source.admitWaitingLocked()
		w.changes.fill()
		chunk := w.hasChunk()
		if w.empty() && !chunk {
			if w.bulks.ended {
				continue
			}
			break
		}
		if most > 0 && (i == most || len(w.first)+w.backlog() > inlineMax || chunk) || !w.writePartLocked(most > 0) {
			w.state = writeWoken
			w.token()
			return
		}
	}
	w.state = writeIdle
	if !w.open() { // the writer's goroutine waits for it, to end
		w.token()
	}
}

// writePartLocked writes one part. With now it writes only what the kernel takes at once,
// and reports false if a rest is left, which the next write begins with. It lets go of mu
// while it writes.
func (w *writer) writePartLocked(now bool) bool {
	p := w.nextLocked()
	w.appended = 0
	w.mu.Unlock()
	begin := w.clk.now()
	n, err := w.write(p, begin, now)
	took := begin
	if !now {
		took = w.clk.now()
	}
	w.lastWrite.Store(took)
	w.mu.Lock()
	w.wrote(p, n)
	w.bytesOut += uint64(n)
	switch {
	case p.bulk == nil && len(w.bulks.out) > 0:
		w.bulks.pace.other(n)
	case p.bulk != nil && p.bulk.lent:
		w.chunkGoneLocked(p.bulk)
		w.cutOver()
	}
	if !now {
		w.pace.took(n, time.Duration(took-begin))
	}
	if err != nil {
		w.mu.Unlock()
		w.source.fail(fmt.Errorf("writing: %w", err))
		w.mu.Lock()
	}
	return len(w.rest) == 0
}

// nextLocked returns the part that is to be written next. If there are frames in order and
// chunks of large bodies, they take turns.
func (w *writer) nextLocked() part {
	if w.hasChunk() && len(w.rest) == 0 && (w.bulks.pace.chunkNext || w.backlog() == 0) {
		return w.chunkLocked(w.takeFirst())
	}
	return w.next(w.pace.most, len(w.bulks.out) > 0 && !w.bye)
}

// failLocked ends the write side. Its goroutine is told in any state: in one that a
// caller has made writeWoken there may be no token in wake.
func (w *writer) failLocked(err error) {
	if w.err == nil {
		w.err = err
	}
	w.token()
}

const briefly = 2 // wakes between two looks up to which the writer's goroutine has little to do

// trimLocked frees memory that an idle link does not need, and its goroutine. It reports
// whether all is written.
func (w *writer) trimLocked() (written bool) {
	w.brief, w.woken = w.woken <= briefly, 0
	if w.state != writeIdle {
		return false
	}
	if w.brief && w.runs && w.open() {
		w.token()
		w.woken = 0
	}
	w.outbox.trim()
	w.bulks.copied = nil
	return w.empty()
}
