package bus

import (
	"slices"
	"sync"
	"time"
)

// rings is the registry of the addresses that this node knows.
type rings struct {
	*services
	mu     *sync.Mutex // core.mu, which guards what is below it, and all changes of rings and their routes
	absent absentError
	dir    directory
	steps  uint64 // in which routes came or went

	ownRoutes RoutesDigest // of the routes to this node's consumers
	surveys   int          // that look at all rings: none is forgotten meanwhile
	untidy    []*ring      // to be tidied then
}

func (a *rings) init(s *services, mu *sync.Mutex, absent absentError) {
	a.services, a.mu, a.absent = s, mu, absent
	a.dir.init()
}

// absentError is the registry of nodes, which says why an address has no consumer.
type absentError interface {
	noConsumer(address string) error
}

func (a *rings) noConsumer(address string) error { return a.absent.noConsumer(address) }

// addRoute adds a route to its ring. The caller holds core.mu.
func (a *rings) addRoute(rt *route) {
	a.steps++
	rt.step.Store(a.steps)
	a.digest(rt).add(rt, 1)
	rt.ring().change(rt.ring().routes.Load().with(rt), a.epochAfter([]*route{rt}))
}

// dropRoutes takes routes out of their rings, those of a ring in one step. The
// caller holds core.mu, and has marked them removed or marks them before it
// lets go of writer.mu.
func (a *rings) dropRoutes(drop []*route) {
	a.steps++
	if len(drop) == 1 {
		a.dropRoutesOf(drop[0].ring(), drop)
		return
	}
	rings := map[*ring][]*route{}
	for _, rt := range drop {
		rings[rt.ring()] = append(rings[rt.ring()], rt)
	}
	for r, gone := range rings {
		a.dropRoutesOf(r, gone)
	}
}

func (a *rings) dropRoutesOf(r *ring, gone []*route) {
	set := r.routes.Load().without(gone)
	for _, rt := range gone {
		rt.step.Store(goneStep | a.steps)
		a.digest(rt).add(rt, -1)
		rt.at = -1
	}
	// A sender by key sets keyed before it loads the routes. If keyed is not set here, any
	// such sender loads the set that is stored next, and chooses none of these routes.
	if r.keyed.Load()&keySent != 0 {
		set.hold(gone)
	}
	r.change(set, a.epochAfter(gone))
}

// ringOf returns the ring of an address and makes it if need be. The caller
// holds core.mu.
func (a *rings) ringOf(address string) *ring {
	r := a.dir.get(address)
	if r == nil {
		r = newRing(a.services, a, address)
		a.dir.add(r)
	}
	return r
}

// get is ringOf for a message that awaits a consumer.
func (a *rings) get(address string) *ring {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ringOf(address)
}

// tidyAll forgets the rings of routes of which nothing is left. The caller
// holds core.mu.
func (a *rings) tidyAll(rts []*route) {
	for _, rt := range rts {
		a.tidy(rt.ring())
	}
}

// tidy forgets a ring of which nothing is left. The caller holds core.mu.
func (a *rings) tidy(r *ring) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone || r.mine.Load() != nil || r.waiting.Load() > 0 {
		return
	}
	if !r.routes.Load().empty() {
		return
	}
	if a.surveys > 0 {
		a.untidy = append(a.untidy, r)
		return
	}
	r.gone = true
	a.dir.remove(r)
	a.books.forget(&r.page)
}

// releaseKeys ends the holding of keys of routes that have gone: all that will come
// back from them has. Entries may be nil.
func (a *rings) releaseKeys(rts []*route) {
	over := map[*ring][]*route{}
	for _, rt := range rts {
		if rt != nil && rt.home != nil && rt.ring().routes.Load().holding != nil {
			over[rt.ring()] = append(over[rt.ring()], rt)
		}
	}
	if len(over) == 0 {
		return
	}
	a.mu.Lock()
	for r, rts := range over {
		a.releaseKeysOf(r, rts)
		a.tidy(r)
	}
	a.mu.Unlock()
	for r := range over {
		r.grant()
	}
}

// reroute gives a message that was sent back to another consumer of the
// address, or lets it wait for one at the head of the line, behind those that
// were sent back before it. takenBack says that no consumer has had all of it.
func (a *rings) reroute(address string, o *outgoing, takenBack bool) {
	if o.choice&toOne != 0 { // asked of that consumer, and no other
		o.call.answer(answer{err: errConsumerClosed})
		return
	}
	a.stats.add(countRerouted, 1)
	left := o.due(a.services) - a.clock.now()
	a.mu.Lock()
	r := a.ringOf(address)
	r.mu.Lock() // before core.mu is let go of: nobody forgets the ring meanwhile
	a.mu.Unlock()
	reason := r.takeBackLocked(o, time.Duration(left), o.rank(takenBack))
	r.mu.Unlock()
	r.book(countRerouted, 1)
	switch reason {
	case nil:
		return
	case errNoneMay:
		reason = r.closedTo(o) // which may take core.mu
		fallthrough
	default:
		a.dead(address, o, reason)
	case errEnded: // by its caller, whom that has told
	}
	a.forget(r.address)
}

// dead counts a message that cannot be placed, tells of it, and answers the
// request if it is one.
func (a *rings) dead(address string, o *outgoing, reason error) {
	a.stats.add(countDeadLetters, 1)
	a.bookAt(address, countDeadLetters)
	if o.call != nil {
		o.call.answer(answer{err: reason})
	}
	a.warnings.warn("dead letter", "address", address, "err", reason)
	if a.events.wanted() {
		a.events.note(DeadLetter{Address: address, Header: o.header, Body: slices.Clip(o.body), Request: o.head.Kind() == kindRequest, Reason: reason})
	}
}

// forget forgets an address of which nothing is left.
func (a *rings) forget(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.dir.get(address); r != nil {
		a.tidy(r)
	}
}

// endWaiting ends the waiting of all messages in the rings for which why has
// an error.
func (a *rings) endWaiting(why func(*ring) error) {
	for _, r := range a.dir.all() {
		reason := why(r)
		if reason == nil {
			continue
		}
		r.mu.Lock()
		var ws []*waiter
		if line := r.line; line != nil {
			ws = slices.Concat(line.any.back, line.any.queue)
			for _, l := range line.lanes {
				ws = append(append(ws, l.back...), l.queue...)
			}
		}
		r.mu.Unlock()
		for _, w := range ws {
			if r.remove(w, reason) && w.ready == nil {
				a.dead(r.address, &w.o, reason)
			}
		}
		a.forget(r.address)
	}
}

// bookAt is book for an address, which may not be known.
func (a *rings) bookAt(address string, what counter) {
	if r := a.dir.get(address); r != nil {
		r.book(what, 1)
	} else {
		a.books.bookForgotten(what)
	}
}

// undecodable counts a message whose codec this node does not have.
func (a *rings) undecodable(address, peer, codec string) {
	a.stats.add(countUndecodable, 1)
	a.bookAt(address, countUndecodable)
	a.warnings.warn("message of a codec that is not registered", "address", address, "peer", peer, "codec", codec)
}
