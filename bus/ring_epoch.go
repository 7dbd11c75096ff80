package bus

// The epoch of an address tells a consumer's program that the consumer's keys may have moved:
// it is another one after each step in which a route that may own keys comes or goes, as far
// as this node knows. It is a part of the set of routes, by which the owner is chosen.

// epochAfter returns the epoch of a ring after the step in which these routes have come or
// gone; 0: as before, as none of them could own a key. The caller holds core.mu.
func (a *rings) epochAfter(rts []*route) uint64 {
	for _, rt := range rts {
		if rt.num != 0 && !rt.published {
			return a.steps
		}
	}
	return 0
}

// change gives the ring other routes, which nobody else knows yet, and tells of the epoch if
// that is another one, which is not 0 then. The caller holds core.mu.
func (r *ring) change(set *routeSet, epoch uint64) {
	if epoch == 0 {
		set.epoch = r.routes.Load().epoch
		r.routes.Store(set)
		return
	}
	set.epoch = epoch
	r.routes.Store(set)
	if r.keyed.Load()&keyCame != 0 && r.mine.Load() != nil && r.events.wanted() {
		r.events.note(KeysMoved{Address: r.address, Epoch: epoch})
	}
}

// newEpochs begins an epoch at each address, as the weights of all of this node's routes have
// changed: see key. The caller holds core.mu.
func (a *rings) newEpochs() {
	a.steps++
	for _, r := range a.dir.all() {
		set := *r.routes.Load()
		r.change(&set, a.steps)
	}
}

// cameByKey notes that a message by key has come to a consumer of this node.
func (h *home) cameByKey() {
	if h.keyed.Load()&keyCame == 0 {
		h.keyed.Or(keyCame)
	}
}

// epoch returns the epoch of the consumer's address.
func (c *Consumer) epoch() uint64 { return c.local.ring().routes.Load().epoch }
