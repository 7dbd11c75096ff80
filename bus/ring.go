package bus

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ring is what this node knows of an address: the routes to its consumers on
// all nodes, which take turns, and the messages that wait for one of them.
type ring struct {
	core    *core
	address string

	routes  atomic.Pointer[[]*route] // copied on write, under core.mu
	mine    atomic.Pointer[Consumer] // this node's, closing ones too, by sibling; changed under core.mu
	next    atomic.Uint32            // whose turn it is
	waiting atomic.Int32             // messages in back and queue, and publishers

	mu   sync.Mutex
	line *line // nil: nobody waits
	gone bool  // no longer in the directory

	past *ledger // guarded by core.books; nil: nothing is in it
}

// line is what waits at a ring.
type line struct {
	back    []*waiter       // messages that were sent back, in that order
	queue   []*waiter       // others that found no credit, first come first served
	publish []chan struct{} // publishers that wait for credit
}

func newRing(c *core, address string) *ring {
	r := &ring{core: c, address: address}
	r.routes.Store(new([]*route))
	r.next.Store(rand.Uint32())
	return r
}

// route is a consumer as a sender sees it, on another node or on this one.
type route struct {
	ring     *ring
	link     *link     // nil: the consumer is this node's
	consumer *Consumer // nil: it is not

	// Guarded by link.mu; for this node's consumers by Consumer.mu.
	window    int64  // bytes that may be unsettled; a message may start while fewer are
	used      int64  // bytes sent that have come back neither as credit nor as a bounce
	unsettled int64  // messages
	settled   int64  // messages, since the route was made
	num       uint32 // at the node it is on; never changed
	bulks     int32  // large messages that are not wholly written: others wait behind them
	removed   bool
	stalled   bool // a publish has waited for it in vain
}

// credit returns how many bytes may still be sent.
func (rt *route) credit() int64 { return rt.window - rt.used }

func (rt *route) charge(cost int64) {
	rt.used += cost
	rt.unsettled++
}

// settle takes messages back into the balance.
func (rt *route) settle(bytes, messages int64) {
	rt.used -= bytes
	rt.unsettled -= messages
	rt.settled += messages
	if rt.credit() >= rt.window/2 {
		rt.stalled = false
	}
}

func (rt *route) post(o *outgoing) bool {
	if rt.link != nil {
		return rt.link.post(rt, o)
	}
	return rt.consumer.post(rt, o)
}

// waiter is a message that waits for a route.
type waiter struct {
	o     outgoing
	ready chan struct{} // closed when the message has been posted; nil: it was sent back
	rt    *route        // to which it was posted
	err   error         // why it was not
	timer *time.Timer   // of one that was sent back
}

// try posts o to the next route in turn that takes it. open counts the routes
// that may take it, now or later.
func (r *ring) try(o *outgoing) (rt *route, open int) {
	routes := *r.routes.Load()
	n := uint32(len(routes))
	if n == 0 {
		return nil, 0
	}
	at := r.next.Add(1)
	for i := range n {
		rt := routes[(at+i)%n]
		if !o.fits(rt) {
			continue
		}
		open++
		if rt.post(o) {
			return rt, open
		}
	}
	return nil, open
}

// grant places what waits, as far as there is credit. It waits for nothing and
// writes to no connection, so that readers can call it.
func (r *ring) grant() {
	if r.waiting.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.grantLocked()
}

func (r *ring) grantLocked() {
	line := r.line
	if line == nil {
		return
	}
	var stuck bool
	if line.back, stuck = r.placeLocked(line.back); !stuck {
		line.queue, _ = r.placeLocked(line.queue)
	}
	for _, c := range line.publish {
		close(c)
	}
	r.waiting.Add(-int32(len(line.publish)))
	line.publish = nil
	r.restLocked()
}

// lineLocked returns the line, for somebody to wait in.
func (r *ring) lineLocked() *line {
	if r.line == nil {
		r.line = new(line)
	}
	return r.line
}

// restLocked forgets the line if nobody waits.
func (r *ring) restLocked() {
	if r.waiting.Load() == 0 {
		r.line = nil
	}
}

// placeLocked places the waiters of a list in order and returns those that are
// left. It is stuck when it meets one that any route could take.
func (r *ring) placeLocked(ws []*waiter) (left []*waiter, stuck bool) {
	if len(ws) == 0 {
		return ws, false
	}
	left = ws[:0]
	for i, w := range ws {
		if !w.o.ended() {
			w.o.head[fTimeLeft] = wholeMs(w.o.deadline - r.core.clock())
			w.rt, _ = r.try(&w.o)
			if w.rt == nil {
				left = append(left, w)
				if w.o.picky() {
					continue
				}
				left = append(left, ws[i+1:]...)
				stuck = true
				break
			}
		}
		r.releaseLocked(w)
	}
	clear(ws[len(left):])
	return left, stuck
}

// releaseLocked ends the waiting of w, which is no longer in a list.
func (r *ring) releaseLocked(w *waiter) {
	r.waiting.Add(-1)
	r.core.waiting.Add(-1)
	if w.timer != nil {
		w.timer.Stop()
	}
	if w.ready != nil {
		close(w.ready)
	}
	r.core.poke()
}

// remove takes w out of its list, for a reason; it reports whether it was
// there.
func (r *ring) remove(w *waiter, reason error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.line == nil {
		return false
	}
	for _, list := range []*[]*waiter{&r.line.back, &r.line.queue} {
		if i := slices.Index(*list, w); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
			w.err = reason
			r.releaseLocked(w)
			r.restLocked()
			return true
		}
	}
	return false
}

// addRoute adds a route to its ring. The caller holds core.mu.
func (c *core) addRoute(rt *route) {
	routes := append(slices.Clone(*rt.ring.routes.Load()), rt)
	rt.ring.routes.Store(&routes)
}

// dropRoutes takes routes out of their rings, those of a ring in one step. The
// caller holds core.mu, and has marked them removed or marks them before it
// lets go of link.mu.
func (c *core) dropRoutes(drop []*route) {
	rings := map[*ring]bool{}
	gone := make(map[*route]bool, len(drop))
	for _, rt := range drop {
		rings[rt.ring], gone[rt] = true, true
	}
	for r := range rings {
		left := slices.DeleteFunc(slices.Clone(*r.routes.Load()), func(rt *route) bool { return gone[rt] })
		r.routes.Store(&left)
	}
}

// ringOf returns the ring of an address and makes it if need be. The caller
// holds core.mu.
func (c *core) ringOf(address string) *ring {
	r := c.dir.get(address)
	if r == nil {
		r = newRing(c, address)
		c.dir.add(r)
	}
	return r
}

// tidyAll forgets the rings of routes of which nothing is left. The caller
// holds core.mu.
func (c *core) tidyAll(rts []*route) {
	for _, rt := range rts {
		c.tidy(rt.ring)
	}
}

// tidy forgets a ring of which nothing is left. The caller holds core.mu.
func (c *core) tidy(r *ring) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone || len(*r.routes.Load()) > 0 || r.mine.Load() != nil || r.waiting.Load() > 0 {
		return
	}
	r.gone = true
	c.dir.remove(r)
	r.forgetBook()
}
