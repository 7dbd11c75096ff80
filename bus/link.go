package bus

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// States of a link's write side.
const (
	writeIdle    = iota
	writeWoken   // somebody is about to write; whoever comes first does
	writeRunning // somebody writes, and looks again before it stops
)

// link is the one connection to another node, final when it ends.
//
// What any goroutine wants to say is appended to the outbox under mu; whoever holds
// writeRunning takes it from there, a part at a time, and writes. Reading is one
// goroutine's.
type link struct {
	*services
	core *core
	peer Peer
	conn net.Conn
	raw  syscall.RawConn // nil: no write that does not wait is to be had
	wake chan struct{}   // of one: there is something to write
	down chan struct{}   // closed when the link has ended and its routes are gone
	acks signal          // an acknowledgement of routes has come

	unsettledIn atomic.Int64 // messages that came and are not settled
	parting     atomic.Bool  // the peer has said that it leaves
	eager       atomic.Bool  // credit is not batched: either side is leaving
	listens     atomic.Bool  // the reader waits for input
	lastRead    atomic.Int64 // by the bus's clock
	lastWrite   atomic.Int64
	lastPing    atomic.Int64
	timed       atomic.Bool // a TIME has come since the last ping

	mu sync.Mutex
	outbox
	pace       pace
	state      uint8
	err        error // why the link takes nothing any more
	entrance   entrance
	stalled    bool            // a publish has waited for room in vain
	room       []chan struct{} // of questions, or replies, for which there was none
	kept       keptReplies
	replies    int   // in buf
	sent       int64 // messages
	outside    int64 // messages sent and not settled
	pend       pending
	leaving    bool     // LEAVING is written
	left       bool     // LEAVING_OK has come
	bye        bool     // GOODBYE is written, or has come: nothing more is
	leftBehind bool     // the peer leaves, or is superseded: it gets no message
	replaced   bool     // it is superseded
	leavesAt   int64    // when its LEAVING came, by the bus's clock
	given      []handed // to the peer, until it has read its end
	handedOver int64    // bytes that the peer has; of the reader
	owing      []*inbound
	freed      []*Consumer // to be unpinned, without mu
	payTimer   *time.Timer
	announcer
	bulks   bulks
	windows windows
	back    []sentBack // that may not be written yet

	// Of whoever has made state writeRunning.
	writeBy  int64  // the deadline of writes, by the bus's clock
	now      []byte // what is written without waiting
	wroteNow int    // of it
	tryOnce  func(fd uintptr) bool
	cut      atomic.Bool // a chunk is to be given back: see cutShort
	parts    [3][]byte
	pad      [2 * frame.Alignment]byte
	vector   net.Buffers

	questions map[uint64]*question // that came and are not answered, by id; guarded by mu

	said timeSaid

	routes  []*route // by the peer's number; written by the reader, under mu
	replied origin   // of replies that come over it
	times   peerTime // of the reader
	ups     func()
	up      bool   // the whole set of the peer is in; guarded by mu
	shared  []bool // of this node's tags, those that the peer has with the same value
}

func (c *core) newLink(peer Peer, conn net.Conn, up func()) *link {
	l := &link{
		services: c.services, core: c, peer: peer, conn: conn, ups: up, shared: c.self.sharedTags(peer),
		wake: make(chan struct{}, 1), down: make(chan struct{}),
	}
	if t, ok := conn.(*net.TCPConn); ok {
		l.raw = rawConn(t)
	}
	l.tryOnce = func(fd uintptr) bool {
		l.wroteNow = writeNow(fd, l.now)
		return true // it never waits; an error shows again at the next write
	}
	l.replied = origin{services: c.services, back: l, linked: true}
	l.pend.init(c.services, l, &l.replied)
	l.pace.set(paceMost)
	now := c.clock.now()
	l.lastRead.Store(now)
	l.lastWrite.Store(now)
	l.lastPing.Store(now)
	return l
}

// post appends o to the link (rule 1) in one critical section with the checks that the
// route is there, has credit, and that there is room. A request is left for its
// caller to flush.
func (l *link) post(rt *route, o *outgoing) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rt.removed || l.err != nil || l.bye || rt.bulks > 0 {
		return false
	}
	if rt.credit() <= 0 {
		l.starvedLocked(rt, o)
		return false
	}
	large := len(o.body) > chunked
	if !l.admitsLocked(rt.ring, large) {
		return false
	}
	if o.call != nil {
		if o.head[frame.FID] = l.pend.add(o.call, rt.num, nil); o.head.ID() == 0 {
			return false // it has ended
		}
	}
	if o.head.Starved() && !rt.starved {
		o.head[frame.FStarved] = 0 // it has waited for something else
	}
	rt.starved = false
	rt.charge(o.cost)
	l.outside++
	l.sent++
	o.head[frame.FRoute] = uint64(rt.num)
	if large {
		l.postBulkLocked(o, []*route{rt}, l.codecs.field(o.codec))
		return true
	}
	l.bulks.pace.quiet = 0
	o.head[frame.FTimeLeft] = l.leftLocked(o.due(l.services))
	l.buf = append(frame.Append(l.buf, frame.Msg, &o.head, o.header, l.codecs.field(o.codec), len(o.body)), o.body...)
	if !o.flushes || l.raw == nil {
		l.wakeLocked()
	}
	return true
}

// starvedLocked notes that a message which waits has found no credit. Where the link
// is what holds up, more credit would only make its buffer longer.
func (l *link) starvedLocked(rt *route, o *outgoing) {
	if o.head.Starved() && 2*l.backlog() <= l.pace.limit {
		rt.starved = true
	}
}

// wakeLocked wakes the writer if nobody is about to write.
func (l *link) wakeLocked() {
	if l.state != writeIdle || l.empty() && !l.hasRoutes() && !l.hasChunk() && !l.bulks.ended {
		return
	}
	l.state = writeWoken
	l.token()
}

func (l *link) token() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// soon sees to it that what is queued goes out without the caller.
func (l *link) soon() {
	l.mu.Lock()
	l.wakeLocked()
	l.mu.Unlock()
}

// writer writes what others leave to it, until the link has failed, or has said
// goodbye and all is written. It closes the write side in that case.
func (l *link) writer() {
	for range l.wake {
		l.mu.Lock()
		if l.pend.n.Load() > 1 || l.replies > 0 {
			l.mu.Unlock()
			runtime.Gosched() // others are about to append more
			l.mu.Lock()
		}
		if l.state == writeWoken {
			l.writeLocked(0)
		}
		end := l.err != nil || l.bye && l.state == writeIdle && l.empty()
		l.mu.Unlock()
		if end {
			closeWrite(l.conn)
			return
		}
	}
}

func closeWrite(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite() // the connection is closed anyway, a little later
	}
}

// flush writes what is queued unless somebody else is at it.
func (l *link) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.raw == nil:
		l.wakeLocked()
	case l.state != writeRunning && !l.empty() && l.err == nil:
		l.writeLocked(inlineTurns)
	}
}

// flushRequest is flush after a request: with others in flight it first lets
// them append theirs.
func (l *link) flushRequest() {
	if l.raw == nil {
		return // the writer has been woken
	}
	if l.pend.n.Load() > 1 {
		l.mu.Lock()
		mine := l.state == writeIdle && !l.empty()
		if mine {
			l.state = writeWoken // by this goroutine, which comes back
		}
		l.mu.Unlock()
		if !mine {
			return
		}
		runtime.Gosched()
	}
	l.flush()
}

// frameLocked appends a frame without a body, regardless of the room that there is.
func (l *link) frameLocked(kind int, h *frame.Head) {
	switch {
	case l.err != nil || l.bye:
	case overtakes(kind, h):
		l.first = frame.Append(l.first, kind, h, nil, nil, 0)
	default:
		l.buf = frame.Append(l.buf, kind, h, nil, nil, 0)
	}
}

func (l *link) frame(kind int, h *frame.Head) {
	l.mu.Lock()
	l.frameLocked(kind, h)
	l.mu.Unlock()
}

// fail ends the link for a reason. It closes the connection without a lock, as
// closing TLS may take its time.
func (l *link) fail(err error) {
	l.mu.Lock()
	first := l.err == nil
	l.failLocked(err)
	l.mu.Unlock()
	if first {
		_ = l.conn.Close()
	}
}

// failLocked ends the link. The writer is told in any state: one that was
// claimed by a caller who has yet to come back has no token of its own.
func (l *link) failLocked(err error) {
	if l.err == nil {
		l.err = err
	}
	for _, c := range l.room {
		close(c)
	}
	l.room = nil
	l.token()
}
