package bus

import "slices"

// fade is routes of a ring that have gone in one step, while messages may come
// back that were sent to them. A key that was theirs is held so long: what came
// back waits in its order, what is new behind it, and then both go to the key's
// next owner. So order survives. Consumers that have come since do not matter,
// as the key's messages are where it was before.
type fade struct {
	was  []*route // the ring's routes before
	left []*route // those that have gone and whose last message is not back
}

// fadeLocked begins a fade. The caller holds core.mu, and takes the routes out
// of the ring then: who no longer sees them there sees them here.
func (r *ring) fadeLocked(was []*route, gone map[*route]bool) {
	if !r.keyed.Load() { // nobody has sent by key: a reader of the routes, who says so first, would post in vain
		return
	}
	f := fade{was: was}
	for _, rt := range was {
		if gone[rt] && rt.num != 0 {
			f.left = append(f.left, rt)
		}
	}
	if len(f.left) == 0 {
		return
	}
	var fades []fade
	if old := r.fades.Load(); old != nil {
		fades = slices.Clone(*old)
	}
	fades = append(fades, f)
	r.fades.Store(&fades)
}

// heldBy returns the route that had the key before it went and whose messages
// are not all back, or nil.
func (r *ring) heldBy(ch choice, fades *[]fade) *route {
	if fades == nil {
		return nil
	}
	for _, f := range *fades {
		if i := r.core.owner(ch, f.was); i >= 0 && slices.Contains(f.left, f.was[i]) {
			return f.was[i]
		}
	}
	return nil
}

// unfade ends the holding of keys of routes that have gone: all that will come
// back from them has. Entries may be nil.
func (c *core) unfade(rts []*route) {
	gone := map[*route]bool{}
	rings := map[*ring]bool{}
	for _, rt := range rts {
		if rt != nil && rt.ring != nil && rt.ring.fades.Load() != nil {
			gone[rt], rings[rt.ring] = true, true
		}
	}
	if len(rings) == 0 {
		return
	}
	c.mu.Lock()
	for r := range rings {
		r.unfadeLocked(gone)
		c.tidy(r)
	}
	c.mu.Unlock()
	for r := range rings {
		r.grant()
	}
}

func (r *ring) unfadeLocked(gone map[*route]bool) {
	old := r.fades.Load()
	if old == nil {
		return
	}
	var fades []fade
	for _, f := range *old { // which others read meanwhile
		left := slices.DeleteFunc(slices.Clone(f.left), func(rt *route) bool { return gone[rt] })
		if len(left) > 0 {
			fades = append(fades, fade{f.was, left})
		}
	}
	if fades == nil {
		r.fades.Store(nil)
	} else {
		r.fades.Store(&fades)
	}
}

// gotRoutesDone knows that the last message is back that was sent to a consumer
// of the peer's that has closed; 0 stands for all of a peer that leaves.
func (l *link) gotRoutesDone(num uint64) {
	if num == 0 {
		l.core.unfade(l.routes)
	} else {
		l.core.unfade([]*route{l.route(num)})
	}
}

// grantAll grants what there is at the rings of routes that have gone: who
// waited for one of them may have another, or must know.
func grantAll(rts []*route) {
	for i, rt := range rts {
		if i == 0 || rt.ring != rts[i-1].ring {
			rt.ring.grant()
		}
	}
}
