package bus

import (
	"slices"
	"strings"
)

// RoutesDigest is a set of routes in short: how many there are, and the sum of their
// hashes. What node i believes of node j, [LinkStats.Routes] of its link, is what j has,
// [EventBus.Routes], where no change is under way: where both stay different, i sends to
// consumers that are not there, or does not know some that are.
type RoutesDigest struct {
	Count int
	Sum   uint64
}

// Routes returns the digest of this node's consumers, without those of LocalOnly.
func (eb *EventBus) Routes() RoutesDigest {
	c := eb.core
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rings.ownRoutes
}

// add adds a route, or takes it out where n is -1. All nodes, of all releases, reckon the
// same hash.
func (d *RoutesDigest) add(rt *route, n int) {
	if rt.num == 0 { // no other node knows it
		return
	}
	d.Count += n
	d.Sum += uint64(n) * mix(hash(rt.home.address)^uint64(rt.num)) // two's complement
}

// digest returns the digest that a route is part of while its ring has it.
func (a *rings) digest(rt *route) *RoutesDigest {
	if l := rt.link(); l != nil {
		return &l.believed
	}
	return &a.ownRoutes
}

// NodeConsumers is how many consumers of an address a node has.
type NodeConsumers struct {
	Node          string // its name and boot id, as [Peer.String] has them; "" on a bus without a cluster
	Consumers     int
	PublishedOnly int // of those, that take no turn
}

// Consumers returns which nodes have consumers of an address, itself among them, as this
// one knows them, in order of Node. It takes no lock.
func (eb *EventBus) Consumers(address string) (all []NodeConsumers) {
	r := eb.core.rings.dir.get(address)
	if r == nil {
		return nil
	}
	at := map[*link]NodeConsumers{}
	set := r.routes.Load()
	for _, routes := range []*routeSet{set, set.hearing()} {
		for part := range routes.parts() {
			for _, rt := range part {
				n := at[rt.link()]
				n.count(rt)
				at[rt.link()] = n
			}
		}
	}
	for l, n := range at {
		n.Node = eb.core.self.nodeOf(l)
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b NodeConsumers) int { return strings.Compare(a.Node, b.Node) })
	return all
}

func (n *NodeConsumers) count(rt *route) {
	n.Consumers++
	if rt.published {
		n.PublishedOnly++
	}
}

// nodeOf names the node at the other end of a link; nil: this one.
func (s *self) nodeOf(l *link) string {
	if l != nil {
		return l.peer.String()
	}
	if p := s.node.Load(); p != nil {
		return p.String()
	}
	return ""
}
