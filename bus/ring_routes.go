package bus

import (
	"iter"
	"slices"
	"sync/atomic"

	"github.com/runrig-go/runrig/bus/internal/sequence"
)

// routeSet is the routes of a ring at one moment. A set never changes, so reading
// one takes no lock: with and without make another that shares with it all but the
// way to what is different. So consumers that come and go one by one cost the same
// each, however many there are.
type routeSet struct {
	few     []*route             // all of them, in turn, if they fit into a leaf
	many    *byNode              // else; nil if they do
	hears   *routeSet            // the routes that take no turn, see PublishedOnly; nil: none
	holding *sequence.Of[*route] // routes that have gone and hold keys, see hold; nil: none
	epoch   uint64               // rings.steps when keys last came to other routes: see ring_epoch.go
}

// byNode is many routes, in turn, those of a node side by side.
type byNode struct {
	size  int
	nodes []nodeRoutes
	seeds atomic.Pointer[seeds] // by which keys find their owners; nil: none was looked for
}

type nodeRoutes struct {
	way    carrier // the link; nil: this node
	end    int     // how many routes there are up to this node's last one
	routes sequence.Of[*route]
}

// link returns the link to the node, nil if it is this one.
func (n *nodeRoutes) link() *link {
	l, _ := n.way.(*link)
	return l
}

// way returns what the routes to a node have in common: the link, nil for this node.
func (rt *route) way() carrier {
	if l := rt.link(); l != nil {
		return l
	}
	return nil
}

var noRoutes = new(routeSet)

// newRouteSet returns a set of routes that take turns. The caller holds core.mu.
func newRouteSet(rts []*route) routeSet {
	if len(rts) <= sequence.LeafSize {
		return routeSet{few: rts}
	}
	at := map[carrier]int{}
	var groups [][]*route
	for _, rt := range rts {
		i, ok := at[rt.way()]
		if !ok {
			i = len(groups)
			at[rt.way()] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], rt)
	}
	many := &byNode{}
	for _, g := range groups {
		for i, rt := range g {
			rt.at = int32(i)
		}
		many.nodes = append(many.nodes, nodeRoutes{way: g[0].way(), routes: sequence.New(g)})
	}
	many.count()
	return routeSet{many: many}
}

// count reckons the sizes anew.
func (m *byNode) count() {
	m.size = 0
	for i := range m.nodes {
		m.size += m.nodes[i].routes.Len()
		m.nodes[i].end = m.size
	}
}

func (s *routeSet) len() int {
	if s.many != nil {
		return s.many.size
	}
	return len(s.few)
}

// at returns the route number i.
func (s *routeSet) at(i int) *route {
	if s.many == nil {
		return s.few[i]
	}
	return s.many.at(i)
}

func (m *byNode) at(i int) *route {
	low, high := 0, len(m.nodes)-1
	for low < high {
		if mid := (low + high) / 2; m.nodes[mid].end <= i {
			low = mid + 1
		} else {
			high = mid
		}
	}
	n := &m.nodes[low]
	return n.routes.At(i - (n.end - n.routes.Len()))
}

// parts yields the routes, some at a time.
func (s *routeSet) parts() iter.Seq[[]*route] {
	return func(yield func([]*route) bool) {
		if s.many == nil {
			if len(s.few) > 0 {
				yield(s.few)
			}
			return
		}
		for i := range s.many.nodes {
			for part := range s.many.nodes[i].routes.Parts() {
				if !yield(part) {
					return
				}
			}
		}
	}
}

// of returns the routes to a node that take turns; if all are few others are among them.
func (s *routeSet) of(l *link) leaves {
	if s.many == nil {
		return leaves{few: s.few}
	}
	if i := s.many.node(l); i >= 0 {
		return leaves{many: &s.many.nodes[i].routes}
	}
	return leaves{}
}

// audience returns the routes to a node that a publish goes to; others may be among
// them, as in of.
func (s *routeSet) audience(l *link) audience {
	if s.hears == nil {
		return audience{turns: s.of(l)}
	}
	return audience{turns: s.of(l), hears: s.hears.of(l)}
}

// leaves are routes, some at a time: what an iterator would be that costs no memory.
type leaves struct {
	few  []*route
	many *sequence.Of[*route]
}

func (l leaves) len() int {
	if l.many != nil {
		return l.many.Leaves()
	}
	return min(len(l.few), 1)
}

func (l leaves) leaf(i int) []*route {
	if l.many != nil {
		return l.many.Leaf(i)
	}
	return l.few
}

// audience is leaves of routes that take turns, and then of those that take none.
type audience struct{ turns, hears leaves }

func (a audience) len() int { return a.turns.len() + a.hears.len() }

func (a audience) leaf(i int) []*route {
	if n := a.turns.len(); i >= n {
		return a.hears.leaf(i - n)
	}
	return a.turns.leaf(i)
}

// listeners appends the links of all of the set's routes to ls, each once.
func (s *routeSet) listeners(ls []*link) []*link {
	ls = s.links(ls)
	if s.hears != nil {
		ls = s.hears.links(ls)
	}
	return ls
}

// links appends the links of the routes that take turns to ls, each once.
func (s *routeSet) links(ls []*link) []*link {
	if s.many != nil {
		before := ls
		for _, n := range s.many.nodes {
			if l := n.link(); l != nil && !slices.Contains(before, l) {
				ls = append(ls, l)
			}
		}
		return ls
	}
	for _, rt := range s.few {
		if l := rt.link(); l != nil && !slices.Contains(ls, l) {
			ls = append(ls, l)
		}
	}
	return ls
}

// own reports whether there are routes to this node's consumers.
func (s *routeSet) own() bool {
	own := s.of(nil)
	for i := range own.len() {
		if slices.ContainsFunc(own.leaf(i), func(rt *route) bool { return rt.link() == nil }) {
			return true
		}
	}
	return false
}

// node returns where the routes of a node are, -1 if there are none.
func (m *byNode) node(l *link) int {
	return slices.IndexFunc(m.nodes, func(n nodeRoutes) bool { return n.link() == l })
}

// all returns all routes.
func (s *routeSet) all() []*route {
	rts := make([]*route, 0, s.len())
	for part := range s.parts() {
		rts = append(rts, part...)
	}
	return rts
}

// among returns the set of the nodes for which which says so, of many routes.
func (s *routeSet) among(which func(*link) bool) *routeSet {
	m := &byNode{}
	for _, n := range s.many.nodes {
		if which(n.link()) {
			m.nodes = append(m.nodes, n)
		}
	}
	m.count()
	return &routeSet{many: m}
}

// empty reports whether nothing is left of the set.
func (s *routeSet) empty() bool { return s.len() == 0 && s.hears == nil && s.holding == nil }

// with returns the set with a route more. The caller holds core.mu.
func (s *routeSet) with(rt *route) *routeSet {
	set := *s
	if rt.published {
		hears := s.hearing().plus(rt)
		set.hears = &hears
		return &set
	}
	set = s.plus(rt)
	set.hears, set.holding = s.hears, s.holding
	return &set
}

// without returns the set without some of its routes. The caller holds core.mu.
func (s *routeSet) without(gone []*route) *routeSet {
	set := *s
	turns, hears := apart(gone)
	if len(turns) > 0 {
		set = s.minus(turns)
		set.hears, set.holding = s.hears, s.holding
	}
	if len(hears) > 0 {
		left := s.hears.minus(hears)
		if set.hears = nil; left.len() > 0 {
			set.hears = &left
		}
	}
	return &set
}

// hearing returns the routes that take no turn.
func (s *routeSet) hearing() *routeSet {
	if s.hears == nil {
		return noRoutes
	}
	return s.hears
}

// apart tells the routes that take turns from those that take none.
func apart(rts []*route) (turns, hears []*route) {
	if !slices.ContainsFunc(rts, func(rt *route) bool { return rt.published }) {
		return rts, nil
	}
	for _, rt := range rts {
		if rt.published {
			hears = append(hears, rt)
		} else {
			turns = append(turns, rt)
		}
	}
	return turns, hears
}

// plus is with among routes of one kind.
func (s *routeSet) plus(rt *route) routeSet {
	if s.many == nil {
		return newRouteSet(append(slices.Clip(s.few), rt))
	}
	m := &byNode{nodes: slices.Clone(s.many.nodes)}
	i := m.node(rt.link())
	if i < 0 {
		i = len(m.nodes)
		m.nodes = append(m.nodes, nodeRoutes{way: rt.way()})
	}
	m.nodes[i].routes = with(m.nodes[i].routes, rt)
	m.count()
	return routeSet{many: m}
}

// minus is without among routes of one kind.
func (s *routeSet) minus(gone []*route) routeSet {
	if s.many == nil || len(gone) > s.len()/sequence.LeafSize || s.len()-len(gone) <= sequence.LeafSize {
		return s.rebuilt(gone)
	}
	m := &byNode{nodes: slices.Clone(s.many.nodes)}
	for _, rt := range gone {
		n := &m.nodes[m.node(rt.link())]
		n.routes = without(n.routes, rt)
	}
	m.nodes = slices.DeleteFunc(m.nodes, func(n nodeRoutes) bool { return n.routes.Len() == 0 })
	m.count()
	return routeSet{many: m}
}

// rebuilt is minus for so many that all others are to be touched anyway.
func (s *routeSet) rebuilt(gone []*route) routeSet {
	isGone := func(rt *route) bool { return slices.Contains(gone, rt) }
	if len(gone) > 1 {
		out := make(map[*route]bool, len(gone))
		for _, rt := range gone {
			out[rt] = true
		}
		isGone = func(rt *route) bool { return out[rt] }
	}
	return newRouteSet(slices.DeleteFunc(s.all(), isGone))
}

// with returns a sequence of routes with one more. The caller holds core.mu.
func with(rts sequence.Of[*route], rt *route) sequence.Of[*route] {
	rt.at = int32(rts.Len())
	return rts.With(rt)
}

// without returns a sequence of routes without one of them, in whose place the last
// one is. The caller holds core.mu.
func without(rts sequence.Of[*route], rt *route) sequence.Of[*route] {
	rts.At(rts.Len() - 1).at = rt.at
	return rts.Without(int(rt.at))
}

// reach is the routes that a message may go to now: all of a ring, or one.
type reach struct {
	all *routeSet
	one *route
}

func (to reach) len() int {
	switch {
	case to.one != nil:
		return 1
	case to.all == nil:
		return 0
	}
	return to.all.len()
}

func (to reach) at(i int) *route {
	if to.one != nil {
		return to.one
	}
	return to.all.at(i)
}

// count returns of how many of them ok is true.
func (to reach) count(ok func(*route) bool) (n int) {
	to.any(func(rt *route) bool {
		if ok(rt) {
			n++
		}
		return false
	})
	return n
}

// any reports whether ok is true of one of them.
func (to reach) any(ok func(*route) bool) bool {
	for i := range to.len() {
		if ok(to.at(i)) {
			return true
		}
	}
	return false
}
