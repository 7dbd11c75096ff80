package bus

import "sync/atomic"

// owner returns the route that owns a key: the one with the highest weight, which is
// computed of the key, the boot of the consumer's node and the consumer's number there. So
// all nodes find the same owner, in whatever order they know the routes, and when a route
// comes or goes only its own keys move. It is nil if no route has a number that other nodes
// know.
func (s *self) owner(ch choice, routes *routeSet) (owner *route) {
	k := s.keyOf(ch)
	if routes.many != nil {
		return routes.many.seedsFor(k.self).owner(k)
	}
	owner, _ = k.heaviest(routes.few, nil, 0)
	return owner
}

// key is what the weights of routes come of.
type key struct{ hash, self uint64 }

func (s *self) keyOf(ch choice) key { return key{uint64(ch >> choiceBits), s.boot.Load()} }

// heaviest returns the route with the highest weight, and that weight, of the routes and of
// than, whose weight is most. Routes without a number have no weight.
func (k key) heaviest(rts []*route, than *route, most uint64) (*route, uint64) {
	for _, rt := range rts {
		if rt.num == 0 {
			continue
		}
		if w := k.weight(rt); than == nil || w > most {
			than, most = rt, w
		}
	}
	return than, most
}

func (k key) weight(rt *route) uint64 { return k.weigh(rt.seed(k.self)) }

func (k key) weigh(seed uint64) uint64 { return mix(k.hash ^ seed) }

// seed is the route's share in its weights; self is the boot of this node.
func (rt *route) seed(self uint64) uint64 {
	boot := self
	if rt.link() != nil {
		boot = rt.link().peer.Boot
	}
	return mix(boot + uint64(rt.num)*0x9e3779b97f4a7c15)
}

// seeds is the routes of a set that can own keys, with the seed of each side by side: to
// look for an owner among them takes a nanosecond or two for each. The owners that were
// found last are kept.
type seeds struct {
	self   uint64 // of which boot of this node they are
	seeds  []uint64
	routes []*route
	found  [1 << slotBits]atomic.Uint64 // by the low bits of a key's hash: the others, and the index of its owner, from 1
}

const (
	slotBits = 10
	hashBits = 64 - choiceBits
	atBits   = 64 - (hashBits - slotBits) // of an index in found
)

// seedsFor returns the seeds of many routes. The first message by key makes them.
func (m *byNode) seedsFor(self uint64) *seeds {
	s := m.seeds.Load()
	if s != nil && s.self == self {
		return s
	}
	s = &seeds{self: self, seeds: make([]uint64, 0, m.size), routes: make([]*route, 0, m.size)}
	for i := range m.nodes {
		for part := range m.nodes[i].routes.Parts() {
			for _, rt := range part {
				if rt.num != 0 {
					s.seeds, s.routes = append(s.seeds, rt.seed(self)), append(s.routes, rt)
				}
			}
		}
	}
	m.seeds.Store(s)
	return s
}

func (s *seeds) owner(k key) *route {
	if len(s.seeds) == 0 {
		return nil
	}
	slot, mark := &s.found[k.hash%(1<<slotBits)], k.hash>>slotBits<<atBits
	if was := slot.Load(); was>>atBits<<atBits == mark && was != mark {
		return s.routes[was-mark-1]
	}
	at := s.search(k)
	if at+1 < 1<<atBits {
		slot.Store(mark | uint64(at+1))
	}
	return s.routes[at]
}

// search returns the index of the seed with the highest weight.
func (s *seeds) search(k key) (at int) {
	most := k.weigh(s.seeds[0])
	for i, seed := range s.seeds {
		if w := k.weigh(seed); w > most {
			at, most = i, w
		}
	}
	return at
}
