package bus

import (
	"cmp"
	"math"
	"slices"
)

// line is what waits at a ring. It has a lane for what any route could take, and
// one for each route for what that alone may: who waits for one consumer, or for
// one key, holds up nobody else.
type line struct {
	any     lane
	lanes   map[*route]*lane // nil, as a key, is for what no route may take now
	tickets uint64
	publish []chan struct{} // publishers that wait for credit

	routes *routeSet // by which lanes is sorted
}

// lane is what waits for the same credit.
type lane struct {
	to    reach     // what could take it; nothing while it is held
	back  []*waiter // messages that were sent back, in that order
	queue []*waiter // others that found no credit, first come first served
	stuck bool      // for want of credit, since granting has begun
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
	n := len(l.any.back) + len(l.any.queue)
	for _, fixed := range l.lanes {
		n += len(fixed.back) + len(fixed.queue)
	}
	return n
}

// restLocked forgets the line if nobody waits.
func (r *ring) restLocked() {
	if r.waiting.Load() == 0 {
		r.line = nil
	}
}

// enqueueLocked lets w wait: one that was sent back ahead of those that were not.
func (r *ring) enqueueLocked(w *waiter) {
	line := r.lineLocked()
	if w.lane = &line.any; w.o.choice&fixed != 0 {
		r.sortLocked(line)
		w.lane = line.laneOf(r.seat(&w.o, line.routes))
	}
	if w.ready == nil {
		w.lane.takeBack(w)
	} else {
		line.tickets++
		w.ticket = line.tickets
		w.lane.queue = append(w.lane.queue, w)
	}
	r.waiting.Add(1)
	r.core.waiting.Add(1)
	r.grantLocked() // credit may have come since
}

// laneOf returns the lane of what is for one route: see aim.
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

// takeBack lets a message wait that was sent back: behind those that were before
// it, unless it is of a later place in the order of its key.
func (l *lane) takeBack(w *waiter) {
	i := len(l.back)
	for i > 0 && l.back[i-1].rank < w.rank {
		i--
	}
	l.back = slices.Insert(l.back, i, w)
}

// rank is the place, in the order of its key, of a message that was sent back:
// the higher the earlier. What waits for the owner of a key has not been sent
// back as often as what was sent before it, which an owner had meanwhile. A large
// message that was taken back before it had all been sent was behind what its
// consumer sends back now, but before what waited.
func (o *outgoing) rank(takenBack bool) uint64 {
	if o.choice&byKey == 0 {
		return 0
	}
	rank := 2 * o.head[fHops]
	if takenBack {
		rank++
	}
	return rank
}

// sortLocked puts what one route only may take into the lanes of those that may
// now, if routes have come or gone. Those of a key stay together, in order.
func (r *ring) sortLocked(line *line) {
	routes := r.routes.Load()
	if line.routes == routes {
		return
	}
	line.routes = routes
	old := line.lanes
	line.lanes = nil
	for _, from := range old {
		for _, w := range from.back {
			w.lane = line.laneOf(r.seat(&w.o, routes))
			w.lane.back = append(w.lane.back, w)
		}
		for _, w := range from.queue {
			w.lane = line.laneOf(r.seat(&w.o, routes))
			w.lane.queue = append(w.lane.queue, w)
		}
	}
	for _, l := range line.lanes {
		slices.SortStableFunc(l.back, func(a, b *waiter) int { return cmp.Compare(b.rank, a.rank) })
		slices.SortStableFunc(l.queue, func(a, b *waiter) int { return cmp.Compare(a.ticket, b.ticket) })
	}
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
	r.sortLocked(line)
	line.any.to = reach{all: line.routes}
	line.any.back, line.any.stuck = r.placeLocked(line.any.back, line.any.to, noTicket)
	for _, l := range line.lanes {
		l.back, l.stuck = r.placeLocked(l.back, l.to, noTicket)
	}
	r.placeQueuesLocked(line)
	if l := line.lanes[nil]; l != nil {
		r.refuseLocked(l)
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

// noTicket is one that nobody has.
const noTicket = math.MaxUint64

// placeQueuesLocked places what was not sent back, first come first served
// over all lanes.
func (r *ring) placeQueuesLocked(line *line) {
	var anyFrom, lanesFrom uint64
	for {
		next, nextOfLanes := line.any.next(anyFrom), uint64(noTicket)
		for _, l := range line.lanes {
			nextOfLanes = min(nextOfLanes, l.next(lanesFrom))
		}
		switch {
		case next == noTicket && nextOfLanes == noTicket:
			return
		case next < nextOfLanes:
			line.any.queue, line.any.stuck = r.placeLocked(line.any.queue, line.any.to, nextOfLanes)
			anyFrom = nextOfLanes
		default:
			for _, l := range line.lanes {
				if !l.stuck {
					l.queue, l.stuck = r.placeLocked(l.queue, l.to, next)
				}
			}
			lanesFrom = next
		}
	}
}

// next returns the first ticket from one on, unless the lane is stuck.
func (l *lane) next(from uint64) uint64 {
	if l.stuck {
		return noTicket
	}
	for _, w := range l.queue {
		if w.ticket >= from {
			return w.ticket
		}
	}
	return noTicket
}

// placeLocked places the waiters of a list in order, up to a ticket, and returns
// those that are left. It is stuck when it meets one that could go where those
// behind it could, and has no room there.
func (r *ring) placeLocked(ws []*waiter, to reach, before uint64) (left []*waiter, stuck bool) {
	if len(ws) == 0 {
		return ws, false
	}
	if to.len() == 0 {
		return ws, true
	}
	i, kept := 0, 0
	localFull := false // no consumer of this node has room: not to be tried for each
	for ; i < len(ws) && ws[i].ticket < before; i++ {
		w := ws[i]
		if w.rests && !w.o.ended() {
			if stuck = w.o.choice&fixed != 0; stuck { // of a key, whose order holds
				break
			}
			ws[kept] = w
			kept++
			continue
		}
		if !w.o.ended() {
			open := 0
			if !localFull || w.o.choice&localOnly == 0 {
				w.o.head[fTimeLeft] = wholeMs(w.o.deadline - r.core.clock())
				w.rt, open = r.try(&w.o, to)
			}
			if w.rt == nil {
				if stuck = open > 0 && (to.len() == 1 || !w.o.picky()); stuck {
					break
				}
				localFull = localFull || w.o.choice&localOnly != 0 && w.o.turn == (turn{})
				ws[kept] = w
				kept++
				continue
			}
		}
		r.releaseLocked(w)
	}
	copy(ws[i-kept:i], ws[:kept])
	clear(ws[:i-kept])
	return ws[i-kept:], stuck
}

// refuseLocked ends the waiting for consumers that have closed.
func (r *ring) refuseLocked(l *lane) {
	left := l.queue[:0]
	for _, w := range l.queue {
		if w.o.choice&toOne == 0 {
			left = append(left, w)
			continue
		}
		w.err = r.closedTo(&w.o)
		r.releaseLocked(w)
	}
	clear(l.queue[len(left):])
	l.queue = left
}

// holds reports whether w waits in the lane, for having been sent back.
func (l *lane) holds(w *waiter) bool { return slices.Contains(l.back, w) }

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
	for _, list := range []*[]*waiter{&w.lane.back, &w.lane.queue} {
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
