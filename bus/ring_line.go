package bus

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// line is the messages and publishers that wait at a ring. It is guarded by ring.mu. It has a lane for messages that
// any route could take, and one for each route for messages that it alone may take: so a
// message that waits for one consumer, or for a key, holds up no others.
type line struct {
	any     lane
	lanes   map[*route]*lane // nil, as a key, is for what no route may take now
	tickets uint64
	publish []chan struct{} // publishers that wait for credit

	routes  *routeSet // the routes by which lanes is sorted
	changed bool      // lanes was sorted anew since refuseLocked last looked for messages that no route may take
}

// lane is what waits for the same credit.
type lane struct {
	to    reach     // the routes that could take its messages; none while their key is held
	back  []*waiter // messages that were sent back, in the order in which they are to go
	queue []*waiter // messages that found no credit, first come first served
	stuck bool      // since grantLocked has begun it has found no credit for the lane's next message
	out   int       // how many waiters were taken out since the lane was swept, and may be in back or queue still
}

// lineLocked returns the line, for somebody to wait in.
func (r *ring) lineLocked() *line {
	if r.line == nil {
		r.line = new(line)
	}
	return r.line
}

// len is how many messages wait.
func (l *line) len() int {
	n := l.any.len()
	for _, fixed := range l.lanes {
		n += fixed.len()
	}
	return n
}

func (l *lane) len() (n int) {
	for _, list := range [][]*waiter{l.back, l.queue} {
		for _, w := range list {
			if !w.out {
				n++
			}
		}
	}
	return n
}

// restLocked forgets the line if nobody waits.
func (r *ring) restLocked() {
	if r.waiting.Load() == 0 {
		r.line = nil
	}
}

// enqueueLocked lets w wait. A message that was sent back goes ahead of all messages that
// were not.
func (r *ring) enqueueLocked(w *waiter) {
	line := r.lineLocked()
	if w.lane = &line.any; w.o.choice&fixed != 0 {
		line.changed = r.sortLocked(line) || line.changed
		w.lane = line.laneOf(r.seat(&w.o, line.routes))
	}
	if w.ready == nil {
		w.lane.back = append(w.lane.back, w)
	} else {
		line.tickets++
		w.ticket = line.tickets
		w.lane.queue = append(w.lane.queue, w)
	}
	r.waiting.Add(1)
	r.work.waiting.Add(1)
	r.grantLocked() // credit may have come since
}

// laneOf returns the lane of the messages that one route only may take, or that wait until
// a route which has gone holds their key no longer: see aim.
func (l *line) laneOf(to reach, held *route) *lane {
	if to.one != nil {
		held = to.one
	}
	at := l.lanes[held]
	if at == nil {
		if l.lanes == nil {
			l.lanes = map[*route]*lane{}
		}
		at = &lane{to: to}
		l.lanes[held] = at
	}
	return at
}

// rank is the place, in the order of its key, of a message that was sent back: the higher
// the earlier. It is what orders messages that come back from two owners of a key, one
// after the other. Say m1 and m2 are sent to the first owner, and m3 waits for room there.
// The first owner sends m1 and m2 back; both are given to the second, which closes too and
// sends them back once more, while the line has m3, sent back by none. Then m1 and m2, with
// two hops each, go before m3. A large message that was taken back before all of it was
// sent (takenBack) goes behind what its consumer sends back, which was sent before it, and
// before what waited.
func (o *outgoing) rank(takenBack bool) uint64 {
	if o.choice&byKey == 0 {
		return 0
	}
	rank := 2 * o.head.Hops()
	if takenBack {
		rank++
	}
	return rank
}

// sortLocked puts each message that one route only may take into the lane of the route that
// may take it now, if routes have come or gone, and reports whether they have. Messages of a
// key stay together, in order; those that were sent back are put in order by their ranks
// (rule 8). They are in order when they are placed: while messages of a key may come back the
// key is held, and when it is held no longer the ring has another set of routes.
func (r *ring) sortLocked(line *line) (changed bool) {
	routes := r.routes.Load()
	if line.routes == routes {
		return false
	}
	line.routes = routes
	old := line.lanes
	line.lanes = nil
	for _, from := range old {
		for _, w := range slices.Concat(from.back, from.queue) {
			if w.out {
				continue
			}
			w.lane = line.laneOf(r.seat(&w.o, routes))
			if w.ready == nil {
				w.lane.back = append(w.lane.back, w)
			} else {
				w.lane.queue = append(w.lane.queue, w)
			}
		}
	}
	for _, l := range line.lanes {
		slices.SortStableFunc(l.back, func(a, b *waiter) int { return cmp.Compare(b.rank, a.rank) })
		slices.SortStableFunc(l.queue, func(a, b *waiter) int { return cmp.Compare(a.ticket, b.ticket) })
	}
	return true
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
	changed := r.sortLocked(line) || line.changed
	line.changed = false
	line.any.to = reach{all: line.routes}
	line.any.back, line.any.stuck = r.placeLocked(line.any.back, line.any.to)
	for _, l := range line.lanes {
		l.back, l.stuck = r.placeLocked(l.back, l.to)
	}
	r.placeQueuesLocked(line)
	if changed {
		r.refuseLocked(&line.any)
		for _, l := range line.lanes {
			r.refuseLocked(l)
		}
	}
	for rt, l := range line.lanes {
		if len(l.back)+len(l.queue) == 0 {
			delete(line.lanes, rt)
		}
	}
	for _, c := range line.publish {
		close(c)
	}
	r.waiting.Add(-int32(len(line.publish)))
	line.publish = nil
	r.restLocked()
}

// noTicket is a ticket that no waiter has.
const noTicket = math.MaxUint64

// placeQueuesLocked places what was not sent back, first come first served
// over all lanes. It goes over each queue once.
func (r *ring) placeQueuesLocked(line *line) {
	ofAny, lanes := r.walkQueueLocked(&line.any), make([]walk, 0, 8) // on the stack
	for _, l := range line.lanes {
		lanes = append(lanes, r.walkQueueLocked(l))
	}
	for {
		next, nextOfLanes := ofAny.next(), uint64(noTicket)
		for i := range lanes {
			nextOfLanes = min(nextOfLanes, lanes[i].next())
		}
		switch {
		case next == noTicket && nextOfLanes == noTicket:
			ofAny.end()
			for i := range lanes {
				lanes[i].end()
			}
			return
		case next < nextOfLanes:
			r.placeUntilLocked(&ofAny, nextOfLanes)
		default:
			for i := range lanes {
				r.placeUntilLocked(&lanes[i], next)
			}
		}
	}
}

// placeLocked places the waiters of a list in order and returns the waiters that are left.
// It is stuck when it meets a waiter that could go wherever the ones behind it could, and has
// no room there.
func (r *ring) placeLocked(ws []*waiter, to reach) (left []*waiter, stuck bool) {
	w := r.walkLocked(ws, to)
	r.placeUntilLocked(&w, noTicket)
	return w.left(), w.stuck
}

// walk goes once over a list of waiters: those before i have been looked at, of which
// the first kept ones wait on.
type walk struct {
	placing
	lane    *lane // whose queue it is
	ws      []*waiter
	i, kept int
	stuck   bool
}

// walkQueueLocked begins to go over a queue, unless what was sent back is stuck.
func (r *ring) walkQueueLocked(l *lane) walk {
	w := r.walkLocked(l.queue, l.to)
	w.lane, w.stuck = l, w.stuck || l.stuck
	return w
}

// end notes what is left of the queue.
func (w *walk) end() { w.lane.queue, w.lane.stuck = w.left(), w.stuck }

// next returns the ticket of the first waiter that has not been looked at, unless the
// walk is stuck.
func (w *walk) next() uint64 {
	for ; w.i < len(w.ws) && !w.stuck; w.i++ {
		if !w.ws[w.i].out {
			return w.ws[w.i].ticket
		}
	}
	return noTicket
}

func (r *ring) walkLocked(ws []*waiter, to reach) walk {
	w := walk{ws: ws}
	if len(ws) > 0 {
		w.placing = placing{to: to, now: r.clock.now()}
		w.stuck = to.len() == 0
	}
	return w
}

// placeUntilLocked places the next waiters of a walk in order, up to a ticket, until it
// is stuck.
func (r *ring) placeUntilLocked(w *walk, before uint64) {
	for ; w.i < len(w.ws) && w.ws[w.i].ticket < before && !w.stuck; w.i++ {
		next := w.ws[w.i]
		if next.out {
			continue
		}
		var leaves bool
		if leaves, w.stuck = r.placeOneLocked(next, &w.placing); leaves {
			r.releaseLocked(next)
			continue
		}
		w.ws[w.kept] = next
		w.kept++
	}
}

// left returns the waiters that are left, in order.
func (w *walk) left() []*waiter {
	from := w.i - w.kept
	copy(w.ws[from:w.i], w.ws[:w.kept])
	clear(w.ws[:from])
	return w.ws[from:]
}

// placing is one pass over a list of waiters, and what it has found to be full: not
// to be tried for each.
type placing struct {
	to        reach
	now       int64
	localFull bool    // no consumer of this node has room
	full      *waiter // a waiter whose caller holds a turn, and for which no route has room
}

// stuck notes that w found no room at the routes that it may go to, open in number, and
// reports whether no waiter behind it can find any.
func (p *placing) stuck(w *waiter, open int) bool {
	o := &w.o
	switch {
	case open == p.to.len():
		return true
	case o.choice&localOnly != 0:
		p.localFull = p.localFull || open == p.to.count(func(rt *route) bool { return rt.link() == nil })
	case o.turn != (turn{}) && p.full == nil:
		p.full = w
	case o.turn != (turn{}): // full is what either could go to
		return !p.to.any(func(rt *route) bool {
			return o.turn.blocks(rt.consumer().holds()) && p.full.o.turn.blocks(rt.consumer().holds())
		})
	}
	return false
}

// knows reports whether w need not be tried.
func (p *placing) knows(w *waiter) bool {
	if w.o.choice&localOnly != 0 {
		return p.localFull
	}
	return p.full != nil && p.full.o.turn == w.o.turn
}

// placeOneLocked gives w to a route, if one has room. It reports whether w leaves
// the list, or else whether it holds up those behind it.
func (r *ring) placeOneLocked(w *waiter, p *placing) (leaves, stuck bool) {
	o := &w.o
	switch {
	case o.deadline <= p.now && w.ready != nil:
		w.err = r.busy(context.DeadlineExceeded)
		return true, false
	case o.deadline <= p.now || o.ended(): // its timer, or its caller, takes it out
		return false, false
	case w.rests:
		return false, o.choice&fixed != 0 // of a key, whose order holds
	case p.knows(w):
		return false, false
	}
	rt, open := r.try(o, p.to)
	if w.rt = rt; rt != nil {
		return true, false
	}
	if o.ended() { // it has ended meanwhile: so no route took it
		return false, false
	}
	return false, p.stuck(w, open)
}

// refuseLocked ends the waiting of calls that no route may take any more, now that routes
// have gone: each call looks again, and tells its caller why. A message that was sent back
// waits on for the next consumer, unless that consumer could not take it either.
func (r *ring) refuseLocked(l *lane) {
	left := l.queue[:0]
	for _, w := range l.queue {
		if w.out {
			continue
		}
		if r.hopes(&w.o) {
			left = append(left, w)
			continue
		}
		w.err = errLookAgain
		r.releaseLocked(w)
	}
	clear(l.queue[len(left):])
	l.queue = left
	for _, w := range l.back {
		if !w.out && !w.rests && r.holdsTurnOfAll(&w.o) {
			w.timer.Reset(0) // see expire
		}
	}
}

// sweep takes the waiters out of the lists that wait no longer, if they may be half of
// all.
func (l *lane) sweep() {
	if l.out++; 2*l.out > len(l.back)+len(l.queue) {
		out := func(w *waiter) bool { return w.out }
		l.back, l.queue, l.out = slices.DeleteFunc(l.back, out), slices.DeleteFunc(l.queue, out), 0
	}
}

// releaseLocked ends the waiting of w, which is no longer in a list, or soon will be.
func (r *ring) releaseLocked(w *waiter) {
	w.out = true
	r.waiting.Add(-1)
	r.work.waiting.Add(-1)
	if w.timer != nil {
		w.timer.Stop()
	}
	if w.ready != nil {
		close(w.ready)
	}
	r.leave.recheck()
}

// remove ends the waiting of w, for a reason; it reports whether it waited.
func (r *ring) remove(w *waiter, reason error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.out {
		return false
	}
	w.err = reason
	r.releaseLocked(w)
	w.lane.sweep()
	r.restLocked()
	return true
}
