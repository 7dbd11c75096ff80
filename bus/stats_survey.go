package bus

import (
	"cmp"
	"slices"
	"strings"
)

// Addresses returns what is known of each address, in order of the addresses. It costs
// nothing while nobody asks, and then time and memory in proportion to the consumers of
// all nodes; it holds no lock for longer than a fraction of a millisecond, so that the
// addresses are of slightly different moments. [EventBus.TopAddresses] needs less memory.
func (eb *EventBus) Addresses() []AddressStats {
	all := []AddressStats{}
	eb.core.survey(func(a *AddressStats) {
		if a.Address != "" || *a != (AddressStats{}) {
			all = append(all, *a)
		}
	})
	slices.SortFunc(all, func(a, b AddressStats) int { return strings.Compare(a.Address, b.Address) })
	return all
}

// TopAddresses is Addresses for the n addresses of the highest rank, the highest first, of
// equal ones in order of the address. Rest is the sum of all others, and of what is
// forgotten. It calls rank once for each address, one after the other: rank must not keep
// the AddressStats.
func (eb *EventBus) TopAddresses(n int, rank func(*AddressStats) uint64) (top []AddressStats, rest AddressStats) {
	t := topList{most: max(0, n)}
	eb.core.survey(func(a *AddressStats) {
		if a.Address == "" {
			rest.add(a)
			return
		}
		t.offer(a, rank(a), &rest)
	})
	t.cut(&rest)
	for i := range t.best {
		top = append(top, t.best[i].AddressStats)
	}
	return top, rest
}

// add adds what is known of another address.
func (a *AddressStats) add(o *AddressStats) {
	a.Consumers, a.Local, a.Paused = a.Consumers+o.Consumers, a.Local+o.Local, a.Paused+o.Paused
	a.PublishedOnly += o.PublishedOnly
	a.Waiting, a.Unsettled = a.Waiting+o.Waiting, a.Unsettled+o.Unsettled
	a.Queued, a.Running = a.Queued+o.Queued, a.Running+o.Running
	a.Stats.add(&o.Stats)
}

// topList is the addresses of the highest rank so far, and some others.
type topList struct {
	most  int
	best  []*rankedAddress
	floor *rankedAddress // what comes behind it is out; nil: nothing is yet
}

type rankedAddress struct {
	AddressStats
	rank uint64
}

// offer adds an address; those that are out are added to rest.
func (t *topList) offer(a *AddressStats, rank uint64, rest *AddressStats) {
	if f := t.floor; f != nil && (rank < f.rank || rank == f.rank && a.Address > f.Address) {
		rest.add(a)
		return
	}
	t.best = append(t.best, &rankedAddress{*a, rank})
	if len(t.best) >= 2*t.most+16 {
		t.cut(rest)
	}
}

// cut leaves the first addresses, in order.
func (t *topList) cut(rest *AddressStats) {
	slices.SortFunc(t.best, func(a, b *rankedAddress) int {
		return cmp.Or(cmp.Compare(b.rank, a.rank), strings.Compare(a.Address, b.Address))
	})
	if len(t.best) < t.most {
		return
	}
	for i := range t.best[t.most:] {
		rest.add(&t.best[t.most+i].AddressStats)
	}
	t.best = t.best[:t.most]
	if t.most > 0 {
		t.floor = t.best[t.most-1]
	}
}

// A survey looks at all addresses, some at a time. No address is forgotten meanwhile, and
// what routes and consumers have counted moves to the ledger of their address as they go,
// under core.mu: so the survey has each message once, and no counter of an address ever
// falls.
type survey struct {
	*core
	late   map[*ring]*AddressStats // of consumers that are gone but for a handler that runs
	some   [surveyRings]AddressStats
	credit []*ring // where looking has given some back
}

const (
	surveyRings = 64      // addresses that are looked at in one step,
	surveyWork  = 1 << 10 // or consumers
)

// survey calls f with what is known of each address, one after the other, in no order,
// and first of all that are forgotten, whose address is "". It holds no lock then.
func (c *core) survey(f func(*AddressStats)) {
	s := survey{core: c, late: map[*ring]*AddressStats{}}
	var forgotten AddressStats
	c.mu.Lock()
	c.rings.surveys++
	c.books.tell(&c.books.forgotten, &forgotten)
	for cn := range c.late {
		if cn.forgotten { // else its ring has it
			s.lateConsumer(cn, &forgotten)
		}
	}
	c.mu.Unlock()
	defer c.rings.surveyed()
	f(&forgotten)
	for rings := c.rings.dir.all(); len(rings) > 0; {
		n := s.look(rings)
		for _, r := range s.credit {
			r.grant()
		}
		for i := range n {
			f(&s.some[i])
		}
		rings, s.credit = rings[n:], s.credit[:0]
	}
}

// surveyed forgets the addresses that could not be forgotten during the survey.
func (a *rings) surveyed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.surveys--; a.surveys > 0 {
		return
	}
	for len(a.untidy) > 0 && a.surveys == 0 {
		some := a.untidy[:min(len(a.untidy), surveyWork)]
		a.untidy = a.untidy[len(some):]
		for _, r := range some {
			a.tidy(r)
		}
		a.mu.Unlock() // others go first
		a.mu.Lock()
	}
	if len(a.untidy) == 0 {
		a.untidy = nil
	}
}

// look looks at the first of some rings, and returns at how many.
func (s *survey) look(rings []*ring) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for work := 0; n < min(len(rings), surveyRings) && work < surveyWork; n++ {
		a, r := &s.some[n], rings[n]
		*a = AddressStats{Address: r.address}
		s.ring(a, r)
		for cn := r.mine.Load(); cn != nil; cn = cn.sibling.Load() {
			s.consumer(a, cn)
			work++
		}
		if late := s.late[r]; late != nil {
			a.add(late)
		}
		work += a.Consumers
	}
	return n
}

func (s *survey) ring(a *AddressStats, r *ring) {
	if account := r.page.account.Load(); account != nil {
		s.books.tell(account, a)
	}
	set := r.routes.Load()
	a.routes(set)
	a.routes(set.hearing())
	a.PublishedOnly = set.hearing().len()
	if r.waiting.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.line != nil {
		a.Waiting = r.line.len()
	}
}

// routes counts the routes of a ring, and what those of links have counted.
func (a *AddressStats) routes(set *routeSet) {
	var locked *link
	for part := range set.parts() {
		for _, rt := range part {
			a.Consumers++
			l := rt.link()
			if l == nil { // consumer counts what it has
				a.Local++
				continue
			}
			if l != locked {
				if locked != nil {
					locked.mu.Unlock()
				}
				l.mu.Lock()
				locked = l
			}
			a.route(rt)
		}
	}
	if locked != nil {
		locked.mu.Unlock()
	}
}

// route counts what a route has counted, unless its address has that in its ledger.
func (a *AddressStats) route(rt *route) {
	if rt.removed {
		return
	}
	a.Unsettled += int(rt.unsettled)
	a.Sent += uint64(rt.settled + rt.unsettled)
	a.Settled += uint64(rt.settled)
	if rt.link() == nil {
		a.SentLocal += uint64(rt.settled + rt.unsettled)
	}
}

func (s *survey) consumer(a *AddressStats, c *Consumer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.route(&c.local)
	if c.paused.Load() && !c.closed {
		a.Paused++
	}
	if b := c.box; b != nil {
		if c.passBatchLocked(1) {
			s.credit = append(s.credit, c.local.ring())
		}
		begun, rest := b.progress()
		a.Queued += b.len() + rest
		a.Running += len(b.running) + begun - b.passed
	}
	if c.counts != nil {
		c.counts.addTo(&a.Stats)
	}
}

// lateConsumer is consumer for one that its ring does not have any more.
func (s *survey) lateConsumer(c *Consumer, forgotten *AddressStats) {
	r := c.local.ring()
	a := s.late[r]
	switch {
	case r.gone:
		a = forgotten
	case a == nil:
		a = new(AddressStats)
		s.late[r] = a
	}
	s.consumer(a, c)
}
