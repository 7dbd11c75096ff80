package bus

import "github.com/runrig-go/runrig/bus/internal/sequence"

// A route that goes fades if messages may come back that were sent to it. A key that
// was its own is held so long: what came back waits in its order, what is new behind
// it, and then both go to the key's next owner. So order survives. Consumers that
// have come since do not matter, as the key's messages are where it was before.

// fade notes that routes of a ring have gone, those that other nodes knew. The
// caller holds core.mu, and takes them out of the set in the same step.
func (s *routeSet) fade(gone []*route) {
	fading := sequence.Of[*route]{}
	if s.fading != nil {
		fading = *s.fading
	}
	for _, rt := range gone {
		if rt.num != 0 {
			fading = with(fading, rt)
		}
	}
	s.setFading(fading)
}

func (s *routeSet) setFading(rts sequence.Of[*route]) {
	if s.fading = nil; rts.Len() > 0 {
		s.fading = &rts
	}
}

// heldBy returns the fading route that holds a key, or nil: the one with the highest
// weight, if that is higher than those of all routes that were there when the first
// of the fading ones went. Some keys are so held that need not be, for as long.
func (r *ring) heldBy(ch choice, s *routeSet) *route {
	if s.fading == nil {
		return nil
	}
	var held *route
	var most uint64
	first := uint64(1<<64 - 1)
	k := r.self.keyOf(ch)
	for part := range s.fading.Parts() {
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

// unfadeLocked is unfade for routes of a ring.
func (a *rings) unfadeLocked(r *ring, rts []*route) {
	set := *r.routes.Load()
	if set.fading == nil {
		return
	}
	fading := *set.fading
	for _, rt := range rts {
		if rt.gone() && rt.at >= 0 {
			fading = without(fading, rt)
			rt.at = -1
		}
	}
	set.setFading(fading)
	r.routes.Store(&set)
}

// grantAll grants what there is at the rings of routes that have come or gone: who
// waits there may have another, or must know that one has gone.
func grantAll(rts []*route) {
	for i, rt := range rts {
		if i == 0 || rt.home != rts[i-1].home {
			rt.home.grant()
		}
	}
}
