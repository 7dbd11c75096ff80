package bus

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// link is the one connection to another node, final when it ends.
//
// What any goroutine wants to say is appended to its write side; reading is one
// goroutine's. mu is the writer's.
type link struct {
	*services
	rings  *rings
	linked *signal   // fired when routes come or go
	out    *outbound // nil: there are no outbound interceptors
	owner  linkOwner

	peer Peer
	writer
	down chan struct{} // closed when the link has ended and its routes are gone
	acks signal        // an acknowledgement of routes has come

	routing sync.Mutex // held while again is routed; before all other locks

	unsettledIn atomic.Int64 // messages that came and are not settled
	parting     atomic.Bool  // the peer has said that it leaves
	eager       atomic.Bool  // credit is not batched: either side is leaving
	ear         ear
	lastPing    atomic.Int64
	timed       atomic.Bool  // a TIME has come since the last ping
	roundTrip   atomic.Int64 // nanoseconds, of the last ping that was answered

	// Guarded by mu.
	entrance   entrance
	stalled    bool            // a publish has waited for room in vain
	room       []chan struct{} // of questions, or replies, for which there was none
	kept       keptReplies
	sent       int64  // messages
	outside    int64  // messages sent and not settled
	stalls     uint64 // messages that found no room at first
	pend       pending
	ours       ours
	theirs     theirs
	replaced   bool     // it is superseded
	leavesAt   int64    // when its LEAVING came, by the bus's clock
	given      []handed // to the peer, until it has read its end
	handedOver int64    // bytes that the peer has; of the reader
	dues       dues
	freed      []*Consumer // to be unpinned, without mu
	again      []unplaced  // to be routed elsewhere, likewise
	announcer
	windows windows
	back    []sentBack // that may not be written yet

	questions map[uint64]*question // that came and are not answered, by id; guarded by mu

	routes  []*route // by the peer's number; written by the reader, under mu
	replied origin   // of replies that come over it
	times   peerTime // of the reader
	ups     func()
	known   bool   // to the program, as one that is up; guarded by mu
	shared  []bool // of this node's tags, those that the peer has with the same value
}

// linkOwner is what a link asks of the registry of consumers and links. No lock may be
// held.
type linkOwner interface {
	linkUp(l *link)        // the peer's whole set of routes is in
	unpin(cs ...*Consumer) // the link has nothing more to do with closed consumers
}

func (c *core) newLink(peer Peer, conn net.Conn, up func()) *link {
	l := &link{
		services: c.services, rings: &c.rings, linked: &c.linked, out: c.own.out, owner: c, peer: peer, ups: up, shared: c.self.sharedTags(peer),
		down: make(chan struct{}), ours: oursAnnouncing, theirs: theirsComing,
	}
	l.connect(conn)
	l.writer.init(l, &c.clock)
	l.replied = origin{services: c.services, back: l, linked: true}
	l.pend.init(c.services, l, &l.replied)
	now := c.clock.now()
	l.ear.lastRead.Store(now)
	l.lastPing.Store(now)
	return l
}

// post appends o to the link (rule 1) in one critical section with the checks that the
// route is there, has credit, and that there is room. A request is left for its
// caller to flush.
func (l *link) post(rt *route, o *outgoing) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rt.removed || !l.open() || rt.bulks > 0 {
		return false
	}
	if rt.credit() <= 0 {
		l.starvedLocked(rt, o)
		return false
	}
	large := len(o.body) > chunked
	if !l.mayAppendLocked(rt.home, large) {
		l.stalls++
		l.queueRingLocked(rt.home, large)
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

// flushRequest is flush after a request: with others in flight it first lets
// them append theirs.
func (l *link) flushRequest() {
	switch {
	case l.raw == nil: // the writer has been woken
	case l.crowded():
		l.flushCrowded()
	default:
		l.flush()
	}
}

// crowded reports whether several requests are under way.
func (l *link) crowded() bool { return l.pend.n.Load() > 1 }

// fail ends the link for a reason. It closes the connection without a lock, as
// closing TLS may take its time.
func (l *link) fail(err error) {
	l.mu.Lock()
	first := l.err == nil
	l.failLocked(err)
	for _, c := range l.room {
		close(c)
	}
	l.room = nil
	l.mu.Unlock()
	if first {
		_ = l.conn.Close()
	}
}
