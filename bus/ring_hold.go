package bus

import "github.com/runrig-go/runrig/bus/internal/sequence"

// A route that has gone holds the keys that it owned, for as long as messages that were sent
// on it may come back. Messages of such a key wait: those that came back in their order, new
// ones behind them; then all go to the key's next owner. So their order survives.
//
// Which route owned a key is computed among the routes as they were before the removal:
// consumers that have come since do not count, as none of the key's messages is there.

// hold notes that routes have gone, and hold the keys that they owned; a route without a
// number, or one that takes no turn, owned none. The caller holds core.mu, and takes the routes out of the set in the
// same step.
func (s *routeSet) hold(gone []*route) {
	holding := sequence.Of[*route]{}
	if s.holding != nil {
		holding = *s.holding
	}
	for _, rt := range gone {
		if rt.num != 0 && !rt.published {
			holding = with(holding, rt)
		}
	}
	s.setHolding(holding)
}

func (s *routeSet) setHolding(rts sequence.Of[*route]) {
	if s.holding = nil; rts.Len() > 0 {
		s.holding = &rts
	}
}

// heldBy (rule 8) returns the route that has gone and holds a key, nil if none does: of the
// gone routes that hold keys, the one with the highest weight. The key is free, however, if
// a route with a higher weight was in the ring already before the first of the gone routes
// went, and still is: at each removal that route outweighed the one that went, so none of
// them owned the key. A route that came later frees no key, although it may have owned the
// key at a later removal: so some keys are held that need not be, until the last of the gone
// routes holds none any more.
func (r *ring) heldBy(ch choice, s *routeSet) *route {
	if s.holding == nil {
		return nil
	}
	var held *route
	var most uint64
	first := uint64(1<<64 - 1)
	k := r.self.keyOf(ch)
	for part := range s.holding.Parts() {
		held, most = k.heaviest(part, held, most)
		for _, rt := range part {
			first = min(first, rt.step.Load()&^goneStep)
		}
	}
	for part := range s.parts() {
		for _, rt := range part {
			if rt.num != 0 && rt.step.Load() < first && k.weight(rt) > most {
				return nil
			}
		}
	}
	return held
}

// releaseKeysOf is releaseKeys for routes of one ring. The caller holds core.mu.
func (a *rings) releaseKeysOf(r *ring, rts []*route) {
	set := *r.routes.Load()
	if set.holding == nil {
		return
	}
	holding := *set.holding
	for _, rt := range rts {
		if rt.gone() && rt.at >= 0 {
			holding = without(holding, rt)
			rt.at = -1
		}
	}
	set.setHolding(holding)
	r.routes.Store(&set)
}

// grantAll grants at the rings of routes that have come or gone: a message that waits there
// may have another route, or must know that its route has gone.
func grantAll(rts []*route) {
	for i, rt := range rts {
		if i == 0 || rt.home != rts[i-1].home {
			rt.home.grant()
		}
	}
}
