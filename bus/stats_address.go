package bus

import (
	"slices"
	"strings"
)

// AddressStats is what this node knows of an address: how it is now, and counters
// that mean what those of [Stats] do, since the address was first known. What a
// consumer that is closed, or on a link that has ended, had counted stays.
//
// A node knows an address while it has a consumer on any node, or a message
// that waits for one. It then forgets it: its counters are added to those of
// the address "", which comes first, so that the sums over all addresses are,
// at rest, those of Stats. LateReplies and Gossip, which have no address, are
// zero.
type AddressStats struct {
	Address string

	Consumers int // on all nodes
	Local     int // of those, on this node
	Paused    int // of those, paused

	PublishedOnly int // of Consumers, those that take no turn

	Waiting   int // messages of this node for which no consumer has room
	Unsettled int // messages of this node that consumers have, here or elsewhere
	Queued    int // messages that wait at this node's consumers
	Running   int // messages that those handle; Handled has them when they are done

	Stats
}

// Addresses returns what is known of each address, in order of the addresses.
// It costs nothing while nobody asks, and then time in proportion to the
// consumers of all nodes, in which none come or go: something for every few
// seconds.
func (eb *EventBus) Addresses() []AddressStats { return eb.core.addresses() }

// What became of a message at its consumer.
const (
	outcomeHandled = iota
	outcomeFailed
	outcomePanicked
	outcomeExpired
	outcomeCanceled
	outcomes
)

// counts are messages by what became of them.
type counts [outcomes]uint64

func (n *counts) addTo(s *Stats) {
	s.Handled += n[outcomeHandled] + n[outcomeFailed] + n[outcomePanicked]
	s.Failed += n[outcomeFailed]
	s.Panics += n[outcomePanicked]
	s.Expired += n[outcomeExpired]
	s.Canceled += n[outcomeCanceled]
}

// survey collects the statistics of addresses. The caller of its methods holds
// core.mu.
type survey struct {
	by        map[*ring]*AddressStats
	forgotten AddressStats
	credit    []*ring // where looking has given some back
}

// at returns where what has to do with a ring is counted.
func (s *survey) at(r *ring) *AddressStats {
	if r.gone { // set under core.mu
		return &s.forgotten
	}
	a := s.by[r]
	if a == nil {
		a = &AddressStats{Address: r.address}
		s.by[r] = a
	}
	return a
}

func (c *core) addresses() []AddressStats {
	s := survey{by: map[*ring]*AddressStats{}}
	c.mu.Lock()
	rings := c.rings.dir.all()
	s.books(&c.books, rings) // before what has settled that which has bounced
	for _, r := range rings {
		s.ring(r)
		for cn := r.mine.Load(); cn != nil; cn = cn.sibling.Load() {
			s.consumer(cn)
		}
	}
	for cn := range c.late {
		if cn.forgotten { // else its ring has it
			s.consumer(cn)
		}
	}
	for l := range c.members.links {
		s.link(l)
	}
	c.mu.Unlock()
	for _, r := range s.credit {
		r.grant()
	}

	all := make([]AddressStats, 0, len(s.by)+1)
	if s.forgotten != (AddressStats{}) {
		all = append(all, s.forgotten)
	}
	for _, a := range s.by {
		all = append(all, *a)
	}
	slices.SortFunc(all, func(a, b AddressStats) int { return strings.Compare(a.Address, b.Address) })
	return all
}

func (s *survey) ring(r *ring) {
	a := s.at(r)
	set := r.routes.Load()
	a.PublishedOnly = set.hearing().len()
	for _, routes := range []*routeSet{set, set.hearing()} {
		for part := range routes.parts() {
			a.consumers(part)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.line != nil {
		a.Waiting = r.line.len()
	}
}

func (a *AddressStats) consumers(rts []*route) {
	for _, rt := range rts {
		a.Consumers++
		if rt.link() == nil {
			a.Local++
		}
	}
}

func (s *survey) consumer(c *Consumer) {
	a := s.at(c.local.ring())
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

// link counts the routes of a link, those that have gone too.
func (s *survey) link(l *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rt := range l.routes.byNumber {
		if rt != nil {
			s.at(rt.ring()).route(rt)
		}
	}
}

func (a *AddressStats) route(rt *route) {
	a.Unsettled += int(rt.unsettled)
	a.Sent += uint64(rt.settled + rt.unsettled)
	a.Settled += uint64(rt.settled)
}

func (s *survey) books(b *books, rings []*ring) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range rings {
		if r.page.ledger != nil {
			r.page.ledger.addTo(&s.at(r).Stats)
		}
	}
	b.forgotten.addTo(&s.forgotten.Stats)
}
