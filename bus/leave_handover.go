package bus

import (
	"fmt"
	"slices"
)

// A message that was sent back to a node that leaves, and has no consumer on any node, is
// handed over to a node that stays, which waits for a consumer in its place. So leaving does
// not take longer where a consumer comes a little later, perhaps on the node that is started
// instead of this one, and a message that can wait for that consumer is not lost.

// handOver (leaving 3) hands over the sends that wait for a consumer; requests stay, as
// their callers are here. A send that only consumers of this node may take (LocalOnly) is
// dead.
func (c leaver) handOver() {
	if c.work.waiting.Load() == 0 {
		return
	}
	for _, r := range c.rings.dir.all() {
		if r.waiting.Load() == 0 {
			continue
		}
		for _, w := range r.orphans() {
			c.handOverOne(r, w)
		}
		c.rings.forget(r.address)
	}
}

func (c leaver) handOverOne(r *ring, w *waiter) {
	if w.o.choice&localOnly != 0 {
		if r.remove(w, errNobodyLeft) {
			c.rings.dead(r.address, &w.o, fmt.Errorf("%w of %q on this node (LocalOnly): %w", ErrNoConsumer, r.address, errNobodyLeft))
		}
		return
	}
	l := c.stayer()
	if l == nil || !r.remove(w, nil) {
		return
	}
	if !l.handOver(r, &w.o) { // it has no room, or has ended: later
		c.rings.reroute(r.address, &w.o, false)
	}
}

// orphans returns the sends that were sent back for which the ring has no route, and
// no key that is held.
func (r *ring) orphans() (ws []*waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set := r.routes.Load()
	if r.line == nil || set.holding != nil {
		return nil
	}
	lists := [][]*waiter{r.line.any.back}
	for _, l := range r.line.lanes {
		lists = append(lists, l.back)
	}
	for _, w := range slices.Concat(lists...) {
		here := w.o.choice&localOnly != 0
		if w.o.head.Kind() == kindSend && (here || set.len() == 0) {
			ws = append(ws, w)
		}
	}
	return ws
}

// stayer returns the link to a node that stays, nil if there is none.
func (c leaver) stayer() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.members.links {
		if l.isUp() {
			return l
		}
	}
	return nil
}
