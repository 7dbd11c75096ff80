package bus

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// States of a link's write side.
const (
	writeIdle    = iota
	writeWoken   // somebody is about to write; whoever comes first does
	writeRunning // somebody writes, and looks again before it stops
)

const (
	bufferCap   = 1 << 20  // bytes not yet written from which on calls wait
	inlineMax   = 32 << 10 // more is left to the writer
	inlineTurns = 2        // a caller writes at most so often

	writeLimit = 10 * time.Second // that a write may take, or half of it
	writePart  = 256 << 10        // bytes of one
)

// link is the one connection to another node, final when it ends.
//
// What any goroutine wants to say is appended to buf under mu; whoever holds
// writeRunning swaps the two buffers and writes. Reading is one goroutine's.
type link struct {
	core *core
	peer Peer
	conn net.Conn
	raw  syscall.RawConn // nil: no write that does not wait is to be had
	wake chan struct{}   // of one: there is something to write
	down chan struct{}   // closed when the link has ended and its routes are gone
	acks signal          // an acknowledgement of routes has come

	unsettledIn atomic.Int64 // messages that came and are not settled
	eager       atomic.Bool  // credit is not batched: either side is leaving
	lastRead    atomic.Int64 // by the bus's clock
	lastPing    atomic.Int64

	mu         sync.Mutex
	buf        []byte // frames that are not yet written
	spare      []byte // the other buffer
	state      uint8
	err        error           // why the link takes nothing any more
	blocked    []*ring         // of messages for which there was no room
	stalled    bool            // a publish has waited for room in vain
	room       []chan struct{} // replies for which there was none
	replies    int             // in buf
	sent       int64           // messages
	outside    int64           // messages sent and not settled
	pend       pending
	leaving    bool // LEAVING is written
	left       bool // LEAVING_OK has come
	bye        bool // GOODBYE is written, or has come: nothing more is
	leftBehind bool // the peer leaves, or is superseded: it gets no message
	owing      []*inbound
	payTimer   *time.Timer
	announcer
	bulks bulks

	// Of whoever has made state writeRunning.
	part    []byte
	writeBy int64 // the deadline of writes, by the bus's clock
	parts   [3][]byte
	pad     [2 * alignment]byte
	vector  net.Buffers
	wrote   int
	tryOnce func(fd uintptr) bool

	questions map[uint64]*question // that came and are not answered, by id; guarded by mu

	routes  []*route // by the peer's number; written under core.mu, by the reader
	replied inbound  // where replies come from
	ups     func()
	up      bool   // the whole set of the peer is in; guarded by mu
	shared  []bool // of this node's tags, those that the peer has with the same value
}

func (c *core) newLink(peer Peer, conn net.Conn, up func()) *link {
	l := &link{
		core: c, peer: peer, conn: conn, ups: up, shared: c.sharedTags(peer),
		wake: make(chan struct{}, 1), down: make(chan struct{}),
	}
	if t, ok := conn.(*net.TCPConn); ok {
		l.raw = rawConn(t)
	}
	l.tryOnce = func(fd uintptr) bool {
		l.wrote = writeNow(fd, l.part)
		return true // it never waits; an error shows again at the next write
	}
	l.pend.init(c, l)
	l.replied.link = l
	l.lastRead.Store(c.clock())
	l.lastPing.Store(c.clock())
	return l
}

// post appends o to the link in one critical section with the checks that the
// route is there, has credit, and that there is room. A request is left for its
// caller to flush.
func (l *link) post(rt *route, o *outgoing) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rt.removed || l.err != nil || l.bye || rt.credit() <= 0 || rt.bulks > 0 {
		return false
	}
	large := len(o.body) > chunked
	if len(l.buf) >= bufferCap || large && !l.bulks.takesBulk() {
		l.blockedLocked(rt.ring)
		return false
	}
	rt.charge(o.cost)
	l.outside++
	l.sent++
	o.head[fRoute] = uint64(rt.num)
	if o.call != nil {
		o.head[fID] = l.pend.add(o.call, rt.num, nil)
	}
	if large {
		l.postBulkLocked(o, []*route{rt}, l.core.codecs.field(o.codec))
		return true
	}
	l.bulks.quiet = 0
	l.buf = append(appendFrame(l.buf, frameMsg, &o.head, o.header, l.core.codecs.field(o.codec), len(o.body)), o.body...)
	if !o.flushes || l.raw == nil {
		l.wakeLocked()
	}
	return true
}

// blockedLocked notes that messages of r wait for room.
func (l *link) blockedLocked(r *ring) {
	for _, o := range l.blocked {
		if o == r {
			return
		}
	}
	l.blocked = append(l.blocked, r)
}

// wakeLocked wakes the writer if nobody is about to write.
func (l *link) wakeLocked() {
	if l.state != writeIdle || len(l.buf) == 0 && !l.hasRoutes() && !l.hasChunk() && !l.bulks.ended {
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
		end := l.err != nil || l.bye && l.state == writeIdle && len(l.buf) == 0
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

// writeLocked swaps the buffers and writes until there is nothing left. With
// turns it writes at most so often and only what the kernel takes at once; the
// writer does the rest. It lets go of the lock while it writes.
func (l *link) writeLocked(turns int) {
	l.state = writeRunning
	for i := 0; l.err == nil; i++ {
		l.writeRoutesLocked()
		if len(l.buf) == 0 && !l.hasChunk() {
			if l.bulks.ended {
				l.releaseLocked() // who may have something to write now
				continue
			}
			break
		}
		if turns > 0 && (i == turns || len(l.buf) > inlineMax || l.hasChunk()) {
			l.state = writeWoken
			l.token()
			return
		}
		bulk, chunk := l.chunkLocked()
		if chunk == nil && !l.bye && (len(l.buf) >= alignedBody || len(l.bulks.out) > 0) {
			l.buf = appendPad(l.buf, len(l.buf))
		}
		b := l.buf
		l.buf, l.spare, l.replies = l.spare[:0], nil, 0
		l.stalled = false
		l.releaseLocked()
		l.mu.Unlock()
		n, err := l.write(b, chunk, turns > 0)
		l.mu.Lock()
		l.chunkWrittenLocked(bulk)
		if n < len(b) && err == nil { // the kernel is full: the rest goes first
			rest := l.buf
			l.buf, l.spare = append(b[:copy(b, b[n:])], rest...), rest[:0]
			l.state = writeWoken
			l.token()
			return
		}
		if cap(b) <= 2*bufferCap {
			l.spare = b[:0]
		}
		if err != nil {
			l.mu.Unlock()
			l.fail(fmt.Errorf("writing: %w", err))
			l.mu.Lock()
		}
	}
	l.state = writeIdle
	if l.bye || l.err != nil { // the writer waits for this
		l.token()
	}
}

// releaseLocked wakes those who waited for room, or for a large body to end. It
// lets go of the lock.
func (l *link) releaseLocked() {
	blocked, room, freed, ended := l.blocked, l.room, l.bulks.freed, l.bulks.ended
	if blocked == nil && room == nil && freed == nil && !ended {
		return
	}
	l.blocked, l.room, l.bulks.freed, l.bulks.ended = nil, nil, nil, false
	l.mu.Unlock()
	release(blocked, room)
	l.core.unpin(freed...)
	l.core.poke()
	l.mu.Lock()
}

// extend puts off the time by which a write must have ended: a peer that does
// not read for so long is no good, even if it writes.
func (l *link) extend() {
	now := l.core.clock()
	if l.writeBy-now < int64(writeLimit/2) {
		l.writeBy = now + int64(writeLimit)
		_ = l.conn.SetWriteDeadline(time.Now().Add(writeLimit))
	}
}

// write writes a buffer, and a chunk behind it. If it is to be now, what the
// kernel does not take at once is left.
func (l *link) write(b, chunk []byte, now bool) (n int, err error) {
	l.extend()
	if !now {
		for len(b)-n > writePart {
			if _, err := l.conn.Write(b[n : n+writePart]); err != nil {
				return n, err
			}
			n += writePart
			l.extend()
		}
		if chunk == nil {
			_, err := l.conn.Write(b[n:])
			return len(b), err
		}
		pad := appendPad(l.pad[:0], len(b)+len(chunk))
		parts := append(l.parts[:0], b[n:])
		for len(chunk) > 0 && err == nil {
			part := chunk[:min(len(chunk), writePart)]
			parts = append(parts, part)
			if chunk = chunk[len(part):]; len(chunk) == 0 && len(pad) > 0 {
				parts = append(parts, pad)
			}
			l.extend()
			l.vector = parts
			_, err = l.vector.WriteTo(l.conn)
			l.parts, parts = [3][]byte{}, l.parts[:0]
		}
		return len(b), err
	}
	l.part, l.wrote = b, 0
	err = l.raw.Write(l.tryOnce)
	l.part = nil
	return l.wrote, err
}

// release wakes those who waited for room.
func release(blocked []*ring, room []chan struct{}) {
	for _, c := range room {
		close(c)
	}
	for _, r := range blocked {
		r.grant()
	}
}

// flush writes what is queued unless somebody else is at it.
func (l *link) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.raw == nil:
		l.wakeLocked()
	case l.state != writeRunning && len(l.buf) > 0 && l.err == nil:
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
		mine := l.state == writeIdle && len(l.buf) > 0
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

// frameLocked appends a frame without a body, regardless of the cap.
func (l *link) frameLocked(kind int, h *head) {
	if l.err == nil && !l.bye {
		l.buf = appendFrame(l.buf, kind, h, nil, nil, 0)
	}
}

func (l *link) frame(kind int, h *head) {
	l.mu.Lock()
	l.frameLocked(kind, h)
	l.mu.Unlock()
}

// reply appends a reply; whoever runs the handler flushes it. Unless it is to go
// now, it waits for room.
func (l *link) reply(ctx context.Context, r *reply) error {
	if len(r.body) > chunked {
		return l.replyBulk(ctx, r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.awaitRoomLocked(ctx, func() bool { return r.now || len(l.buf) < bufferCap }); err != nil {
		return err
	}
	h := l.replyHeadLocked(r)
	l.buf = append(appendFrame(l.buf, frameReply, &h, r.header, l.core.codecs.field(r.codec), len(r.body)), r.body...)
	l.replies++
	return nil
}

// replyHeadLocked returns the numbers of a reply, and notes that an answer to
// it is waited for if it asks.
func (l *link) replyHeadLocked(r *reply) head {
	h := head{fID: r.id, fCodec: wireCodec(r.codec)}
	if r.failed {
		h[fFailed], h[fCode] = 1, zigzag(r.code)
	}
	if r.call != nil {
		h[fAsk] = l.pend.add(r.call, 0, nil)
		h[fTimeLeft] = wholeMs(r.call.deadline - l.core.clock())
	}
	return h
}

// awaitRoomLocked waits until there is room for a reply, which room tells.
func (l *link) awaitRoomLocked(ctx context.Context, room func() bool) error {
	for l.err == nil && !l.bye && !room() {
		c := make(chan struct{})
		l.room = append(l.room, c)
		l.wakeLocked()
		l.mu.Unlock()
		select {
		case <-c:
		case <-ctx.Done():
		}
		l.mu.Lock()
		if ctx.Err() != nil {
			return fmt.Errorf("%w: link to %s has no room for a reply: %w", ErrBusy, l.peer.Name, ctx.Err())
		}
	}
	if l.err != nil || l.bye {
		return fmt.Errorf("%w: reply to %s: %v", ErrLinkLost, l.peer.Name, l.err)
	}
	return nil
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
