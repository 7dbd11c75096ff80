package bus

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// ring is what this node knows of an address: the routes to its consumers on
// all nodes, which take turns, and the messages that wait for one of them.
type ring struct {
	home
	registry registry

	routes atomic.Pointer[routeSet] // changed under core.mu
	mine   atomic.Pointer[Consumer] // this node's, closing ones too, by sibling; changed under core.mu
	next   atomic.Uint32            // whose turn it is

	mu   sync.Mutex
	gone bool  // no longer in the directory
	line *line // nil: nobody waits
}

// home is what the routes of a ring know of it.
type home struct {
	*services
	granter
	address string
	waiting atomic.Int32  // messages in lanes, and publishers
	keyed   atomic.Uint32 // whether messages were sent by key from this node, and to it
	page    page          // of the books
}

// What keyed says.
const (
	keySent = 1 << iota // a message was sent by key
	keyCame             // one that was has come to a consumer of this node
)

// granter is a ring: grant places messages that wait there, as far as there is credit.
type granter interface{ grant() }

func newRing(s *services, up registry, address string) *ring {
	r := &ring{registry: up}
	r.home.services, r.home.granter, r.home.address = s, r, address
	r.routes.Store(noRoutes)
	r.next.Store(rand.Uint32())
	return r
}

// route is a consumer as a sender sees it, on another node or on this one.
type route struct {
	home *home
	to   carrier

	num uint32 // the consumer's number at its node, 0 if no other node knows it; never changed

	// The place in the sequence that has the route: that of the ring's routes or, once it has
	// gone, of the routes that hold keys; -1 if it has gone and holds none. Guarded by core.mu.
	at int32

	// The value of core.steps when the route became part of its ring; once it has gone, the
	// value when it went, with the bit goneStep.
	step atomic.Uint64

	// Guarded by writer.mu; for this node's consumers by Consumer.mu.
	window    int64 // bytes that may be unsettled; a message may start while fewer are
	used      int64 // bytes sent that have come back neither as credit nor as a bounce
	unsettled int64 // messages
	settled   int64 // messages, since the route was made
	bulks     int16 // large messages that are not wholly written: others wait behind them
	removed   bool
	over      bool // no message that was sent on it comes back any more
	stalled   bool // a publish has waited for it in vain
	starved   bool // a message that waits has found no credit
	needed    bool // much of the window has been used since tend last looked

	published bool // it gets copies of a publish and nothing else: see PublishedOnly; never changed
}

// goneStep marks the step of a route that is no longer part of its ring.
const goneStep = 1 << 63

// gone reports whether the route is no longer part of its ring.
func (rt *route) gone() bool { return rt.step.Load()&goneStep != 0 }

// credit returns how many bytes may still be sent.
func (rt *route) credit() int64 { return rt.window - rt.used }

// charge takes the cost of a message off the balance of the route (rule 10). The caller holds
// the lock that guards the route.
func (rt *route) charge(cost int64) {
	rt.used += cost
	if rt.used > rt.window/8 {
		rt.needed = true
	}
	rt.unsettled++
}

// settle takes messages back into the balance.
func (rt *route) settle(bytes, messages int64) {
	rt.settled += messages
	rt.back(bytes, messages)
	if rt.removed {
		rt.bookLate(messages, -messages)
	}
}

// back is settle without counting.
func (rt *route) back(bytes, messages int64) {
	rt.used -= bytes
	rt.unsettled -= messages
	if rt.credit() >= rt.window/2 {
		rt.stalled = false
	}
}

// unsend takes back a message as if it had never been sent.
func (rt *route) unsend(o *outgoing) {
	rt.back(o.cost, 1)
	if rt.removed {
		rt.bookLate(0, -1)
	}
	switch o.head.Kind() {
	case kindRequest:
		rt.home.count(countRequested, -1)
	case kindPublish:
		rt.home.count(countPublished, -1)
	}
}

// carrier is what takes the messages of a route: the link to the consumer's node, or a
// consumer of this node itself.
type carrier interface {
	// post takes a message. It reports false if the route is removed or has no credit, or
	// if there is no room.
	post(rt *route, o *outgoing) bool
}

// post gives a message to the route's carrier. It calls the carrier by its type and not by
// the interface: a pointer that goes to a method of an interface escapes, so each o would be
// allocated.
func (rt *route) post(o *outgoing) bool {
	if l := rt.link(); l != nil {
		return l.post(rt, o)
	}
	return rt.consumer().post(rt, o)
}

// ring returns the ring that the route is of, or was.
func (rt *route) ring() *ring { return rt.home.granter.(*ring) }

// link returns the link that the messages of the route go over; nil: the consumer is
// this node's.
func (rt *route) link() *link {
	l, _ := rt.to.(*link)
	return l
}

// consumer returns the route's consumer if it is this node's, else nil.
func (rt *route) consumer() *Consumer {
	c, _ := rt.to.(*Consumer)
	return c
}

// waiter is a message that waits for a route.
type waiter struct {
	ring   *ring // of one that was sent back
	o      outgoing
	ready  chan struct{} // closed when the message has been posted; nil: it was sent back
	rt     *route        // to which it was posted
	err    error         // why it was not
	timer  *time.Timer   // of one that was sent back
	rests  bool          // of a message that was sent back: it is not to be placed yet
	out    bool          // it waits no longer
	lane   *lane         // where it waits
	ticket uint64        // of one that was not sent back: when it came
	rank   uint64        // of one that was
}

// place posts o to a route of the ring, or lets it wait for one of them.
func (r *ring) place(ctx context.Context, o *outgoing) (*route, error) {
	to, held := r.aim(o)
	if held == nil && r.waiting.Load() == 0 { // else it would overtake
		rt, open := r.try(o, to)
		if rt == nil && open > 0 { // before it waits: for its sake a window may grow
			o.head[frame.FStarved] = 1
			rt, open = r.try(o, to)
		}
		if rt != nil {
			return rt, nil
		}
		if open == 0 && !r.open(o) {
			return nil, r.closedTo(o)
		}
	}
	if o.picky() && !r.open(o) {
		return nil, r.closedTo(o)
	}
	return r.wait(ctx, o)
}

// aim returns the routes that the message may go to now. If its key is held it may go to
// none, and held is the route that holds the key (see hold).
//
// A sender whose message has not waited looks at ring.waiting after this call: what a
// closing consumer has sent back waits in the line before its keys have another owner, so
// a sender that finds the new owner also finds what waits.
func (r *ring) aim(o *outgoing) (to reach, held *route) {
	if o.choice&fixed == 0 {
		return reach{all: r.routes.Load()}, nil
	}
	return r.aimAtOne(o)
}

// try offers o to the routes in to, in turn, until one takes it, and returns that route.
// If none does, open is how many of the routes may take it when they have room.
func (r *ring) try(o *outgoing, to reach) (rt *route, open int) {
	n := uint32(to.len())
	if n == 0 {
		return nil, 0
	}
	turn := uint32(0)
	if n > 1 {
		turn = r.next.Add(1)
	}
	for tier := range o.choice.tiers() {
		at := turn
		among := to
		if o.choice&(localOnly|ranked) != 0 {
			among, at = o.among(to, tier, turn)
			n = uint32(among.len())
		}
		for i := range n {
			rt := among.at(int((at + i) % n))
			if !o.in(tier, rt) {
				continue
			}
			open++
			if rt.post(o) {
				return rt, open
			}
		}
	}
	return nil, open
}
