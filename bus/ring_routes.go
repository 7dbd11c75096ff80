package bus

import (
	"iter"
	"slices"
)

// leafRoutes is how many routes are kept side by side.
const (
	leafRoutes = 1 << leafBits
	leafBits   = 5
)

// routeSet is the routes of a ring at one moment. A set never changes, so reading
// one takes no lock: with and without make another that shares with it all but the
// way to what is different. So consumers that come and go one by one cost the same
// each, however many there are.
type routeSet struct {
	few    []*route // all of them, in turn, if they fit into a leaf
	many   *byNode  // else; nil if they do
	fading *tree    // routes that have gone and hold keys, see fade; nil: none
}

// byNode is many routes, in turn, those of a node side by side.
type byNode struct {
	size  int
	nodes []nodeRoutes
}

type nodeRoutes struct {
	link *link // nil: this node
	end  int   // how many routes there are up to this node's last one
	tree
}

var noRoutes = new(routeSet)

// newRouteSet returns a set of routes. The caller holds core.mu.
func newRouteSet(rts []*route) *routeSet {
	if len(rts) <= leafRoutes {
		return &routeSet{few: rts}
	}
	at := map[*link]int{}
	var groups [][]*route
	for _, rt := range rts {
		i, ok := at[rt.link]
		if !ok {
			i = len(groups)
			at[rt.link] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], rt)
	}
	many := &byNode{}
	for _, g := range groups {
		many.nodes = append(many.nodes, nodeRoutes{link: g[0].link, tree: newTree(g)})
	}
	many.count()
	return &routeSet{many: many}
}

// count reckons the sizes anew.
func (m *byNode) count() {
	m.size = 0
	for i := range m.nodes {
		m.size += m.nodes[i].size
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
	return n.at(i - (n.end - n.size))
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
			for part := range s.many.nodes[i].parts() {
				if !yield(part) {
					return
				}
			}
		}
	}
}

// of returns the routes to a node; if all are few others are among them.
func (s *routeSet) of(l *link) leaves {
	if s.many == nil {
		return leaves{few: s.few}
	}
	if i := s.many.node(l); i >= 0 {
		return leaves{many: &s.many.nodes[i].tree}
	}
	return leaves{}
}

// leaves are routes, some at a time: what an iterator would be that costs no memory.
type leaves struct {
	few  []*route
	many *tree
}

func (l leaves) len() int {
	if l.many != nil {
		return l.many.leaves()
	}
	return 1
}

func (l leaves) leaf(i int) []*route {
	if l.many != nil {
		return l.many.leaf(i)
	}
	return l.few
}

// links appends the links of the set's routes to ls, each once.
func (s *routeSet) links(ls []*link) []*link {
	if s.many != nil {
		for _, n := range s.many.nodes {
			if n.link != nil {
				ls = append(ls, n.link)
			}
		}
		return ls
	}
	for _, rt := range s.few {
		if rt.link != nil && !slices.Contains(ls, rt.link) {
			ls = append(ls, rt.link)
		}
	}
	return ls
}

// own reports whether there are routes to this node's consumers.
func (s *routeSet) own() bool {
	own := s.of(nil)
	for i := range own.len() {
		if slices.ContainsFunc(own.leaf(i), func(rt *route) bool { return rt.link == nil }) {
			return true
		}
	}
	return false
}

// node returns where the routes of a node are, -1 if there are none.
func (m *byNode) node(l *link) int {
	return slices.IndexFunc(m.nodes, func(n nodeRoutes) bool { return n.link == l })
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
		if which(n.link) {
			m.nodes = append(m.nodes, n)
		}
	}
	m.count()
	return &routeSet{many: m}
}

// with returns the set with a route more. The caller holds core.mu.
func (s *routeSet) with(rt *route) *routeSet {
	if s.many == nil {
		set := newRouteSet(append(slices.Clip(s.few), rt))
		set.fading = s.fading
		return set
	}
	m := &byNode{nodes: slices.Clone(s.many.nodes)}
	i := m.node(rt.link)
	if i < 0 {
		i = len(m.nodes)
		m.nodes = append(m.nodes, nodeRoutes{link: rt.link})
	}
	m.nodes[i].tree = m.nodes[i].with(rt)
	m.count()
	return &routeSet{many: m, fading: s.fading}
}

// without returns the set without some of its routes. The caller holds core.mu.
func (s *routeSet) without(gone []*route) *routeSet {
	if s.many == nil || len(gone) > s.len()/leafRoutes || s.len()-len(gone) <= leafRoutes {
		return s.rebuilt(gone)
	}
	m := &byNode{nodes: slices.Clone(s.many.nodes)}
	for _, rt := range gone {
		n := &m.nodes[m.node(rt.link)]
		n.tree = n.tree.without(rt)
	}
	m.nodes = slices.DeleteFunc(m.nodes, func(n nodeRoutes) bool { return n.size == 0 })
	m.count()
	return &routeSet{many: m, fading: s.fading}
}

// rebuilt is without for so many that all others are to be touched anyway.
func (s *routeSet) rebuilt(gone []*route) *routeSet {
	isGone := func(rt *route) bool { return slices.Contains(gone, rt) }
	if len(gone) > 1 {
		out := make(map[*route]bool, len(gone))
		for _, rt := range gone {
			out[rt] = true
		}
		isGone = func(rt *route) bool { return out[rt] }
	}
	set := newRouteSet(slices.DeleteFunc(s.all(), isGone))
	set.fading = s.fading
	return set
}

// tree is a sequence of routes that never changes, as routeSet is one. Who makes one
// holds core.mu, and notes in each route where it is.
type tree struct {
	size   int
	height int // of top; 0: it is a leaf
	top    *branch
}

// branch is a leaf, or the way to up to as many branches.
type branch struct {
	leaf []*route
	kids []*branch
}

func newTree(rts []*route) tree {
	t := tree{size: len(rts)}
	var row []*branch
	for i, rt := range rts {
		rt.at = int32(i)
	}
	for part := range slices.Chunk(rts, leafRoutes) {
		row = append(row, &branch{leaf: part})
	}
	for ; len(row) > 1; t.height++ {
		var up []*branch
		for part := range slices.Chunk(row, leafRoutes) {
			up = append(up, &branch{kids: part})
		}
		row = up
	}
	t.top = row[0]
	return t
}

// leaves returns how many there are.
func (t *tree) leaves() int { return (t.size + leafRoutes - 1) / leafRoutes }

// leaf returns leaf number i.
func (t *tree) leaf(i int) []*route {
	b := t.top
	for h := t.height; h > 0; h-- {
		b = b.kids[i>>(leafBits*(h-1))%leafRoutes]
	}
	return b.leaf
}

func (t *tree) at(i int) *route { return t.leaf(i / leafRoutes)[i%leafRoutes] }

// parts yields the routes, a leaf at a time.
func (t *tree) parts() iter.Seq[[]*route] {
	return func(yield func([]*route) bool) {
		for i := range t.leaves() {
			if !yield(t.leaf(i)) {
				return
			}
		}
	}
}

// with returns the tree with one more at its end.
func (t tree) with(rt *route) tree {
	if t.size == leafRoutes<<(leafBits*t.height) { // all is full
		t.top = &branch{kids: []*branch{t.top}}
		t.height++
	}
	rt.at = int32(t.size)
	return tree{t.size + 1, t.height, t.top.put(t.size, t.height, rt)}
}

// without returns the tree without a route, in whose place the last one is.
func (t tree) without(rt *route) tree {
	if last := t.at(t.size - 1); last != rt {
		last.at = rt.at
		t.top = t.top.put(int(last.at), t.height, last)
	}
	t.size--
	t.top = t.top.cut(t.size, t.height)
	for t.height > 0 && len(t.top.kids) == 1 {
		t.top = t.top.kids[0]
		t.height--
	}
	return t
}

// put returns the branch, which may be nil, with a route in a place, which may be
// one more.
func (b *branch) put(i, height int, rt *route) *branch {
	n := new(branch)
	if b != nil {
		*n = *b
	}
	if height == 0 {
		n.leaf = putAt(n.leaf, i%leafRoutes, rt)
		return n
	}
	k := i >> (leafBits * height) % leafRoutes
	var kid *branch
	if k < len(n.kids) {
		kid = n.kids[k]
	}
	n.kids = putAt(n.kids, k, kid.put(i, height-1, rt))
	return n
}

// putAt returns a copy of s with v in a place, which may be one more.
func putAt[T any](s []T, i int, v T) []T {
	c := make([]T, max(len(s), i+1))
	copy(c, s)
	c[i] = v
	return c
}

// cut returns the branch without its last place, which is i; nil if it had no
// other.
func (b *branch) cut(i, height int) *branch {
	if height == 0 {
		if i %= leafRoutes; i == 0 {
			return nil
		}
		return &branch{leaf: slices.Clone(b.leaf[:i])}
	}
	k := i >> (leafBits * height) % leafRoutes
	kid := b.kids[k].cut(i, height-1)
	switch {
	case kid != nil:
		return &branch{kids: putAt(b.kids, k, kid)}
	case k == 0:
		return nil
	}
	return &branch{kids: slices.Clone(b.kids[:k])}
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
