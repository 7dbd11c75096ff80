package bus

import (
	"net"
	"sync/atomic"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// link is the one connection to another node; once it has ended it stays so.
//
// Any goroutine appends frames to the link's write side; one goroutine, the reader, handles
// what comes. The parts of the link hold its writer, whose lock guards them all, and not the
// link. Here mu is that lock, writer.mu.
type link struct {
	*services
	rings  *rings
	owner  linkOwner
	shared []bool        // for each of this node's tags: the peer has it with the same value
	ups    func()        // called when the link is up; may be nil
	down   chan struct{} // closed when the link has ended and its routes are gone

	writer
	ear       ear
	entrance  entrance   // the rings whose messages wait for room
	routes    peerRoutes // the peer's consumers
	pend      pending    // the requests to them
	ends      bulkEnds   // of large bodies
	inbounds  inbounds   // this node's consumers, as the peer knows them
	announcer announcer  // tells the peer of them
	replies   replies    // to the peer
	questions questions  // from the peer

	lastPing  atomic.Int64
	timed     atomic.Bool  // a TIME has come since the last ping
	roundTrip atomic.Int64 // nanoseconds, of the last ping that was answered
	parting   atomic.Bool  // the peer has said that it leaves

	believed RoutesDigest // of routes, those that are part of their rings; guarded by core.mu

	// Guarded by mu.
	stalled  bool     // a publish has waited for room in vain
	known    bool     // the program has been told that the link is up
	replaced bool     // the link is superseded
	leavesAt int64    // when the peer's LEAVING came, by the bus's clock
	given    []handed // messages that were handed over to the peer; they are lost if the link breaks
}

// linkOwner is what a link asks of the registry of consumers and links. Its methods are
// called without any lock.
type linkOwner interface {
	pins
	linkUp(l *link) // the peer's whole set of routes is in
}

func (c *core) newLink(peer Peer, conn net.Conn, up func()) *link {
	l := &link{
		services: c.services, rings: &c.rings, owner: c, ups: up, shared: c.self.sharedTags(peer),
		down: make(chan struct{}),
	}
	l.connect(conn)
	l.writer.init(l, peer, &c.clock)
	l.entrance.writer = &l.writer
	l.routes.init(l, c)
	l.pend.init(c.services, &l.ends, &l.replies.origin)
	l.ends.services, l.ends.writer, l.ends.rings, l.ends.replies = c.services, &l.writer, &c.rings, &l.replies
	l.inbounds.init(l, c)
	l.announcer.inbounds, l.announcer.down, l.changes = &l.inbounds, l.down, &l.announcer
	l.replies.init(l, c.own.out)
	l.questions.services, l.questions.writer = c.services, &l.writer
	now := c.clock.now()
	l.ear.lastRead.Store(now)
	l.lastPing.Store(now)
	return l
}

// post appends o to the link, in one critical section of writer.mu with the checks that the
// route is there (rule 1), that it has credit (rule 10), and that there is room. If
// o.flushes is set, the caller of the request writes it, and post wakes no writer.
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
	if !l.entrance.mayAppendLocked(rt.home, large) {
		l.entrance.queueRingLocked(rt.home, large)
		return false
	}
	if o.call != nil {
		if o.head[frame.FID] = l.pend.add(o.call, rt.num, nil); o.head.ID() == 0 {
			return false // the call has ended
		}
		rt.home.count(countRequested, 1)
	}
	if o.head.Starved() && !rt.starved {
		o.head[frame.FStarved] = 0 // o has waited, but not for the credit of rt
	}
	rt.starved = false
	rt.charge(o.cost)
	l.routes.outside++
	l.routes.sent++
	o.head[frame.FRoute] = uint64(rt.num)
	if large {
		l.entrance.took = true
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

// starvedLocked (rule 13) notes that a message which waits has found no credit on a route.
// It does not if the link itself holds messages up: more credit would only have more wait
// in its outbox.
func (l *link) starvedLocked(rt *route, o *outgoing) {
	if o.head.Starved() && 2*l.backlog() <= l.pace.limit {
		rt.starved = true
	}
}

// flushRequest is flush after a request. If other requests are under way, it lets their
// callers append first.
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

// fail ends the link for a reason. It closes the connection after it has let go of mu, as
// closing TLS may take its time.
func (l *link) fail(err error) {
	l.mu.Lock()
	first := l.err == nil
	l.failLocked(err)
	l.replies.wakeAllLocked()
	l.mu.Unlock()
	if first {
		_ = l.conn.Close()
	}
}
