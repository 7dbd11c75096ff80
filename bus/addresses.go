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
	fateHandled = iota
	fateFailed
	fatePanicked
	fateExpired
	fateCanceled
	fates
)

// counts are messages by what became of them.
type counts [fates]uint64

func (n *counts) addTo(s *Stats) {
	s.Handled += n[fateHandled] + n[fateFailed] + n[fatePanicked]
	s.Failed += n[fateFailed]
	s.Panics += n[fatePanicked]
	s.Expired += n[fateExpired]
	s.Canceled += n[fateCanceled]
}

// ledger is the counters of an address that no route or consumer of now has:
// those that gone ones had, and those of what is rare. It is guarded by
// core.books.
type ledger struct {
	settled uint64 // bounced ones too
	counts  counts
	rare    [rarities]uint64
}

// What is rare.
const (
	rareBounced = iota
	rareUnknown
	rareRerouted
	rareDeadLetter
	rareSkipped
	rareUndecodable
	rareDropped
	rareCutOff
	rarities
)

func (b *ledger) add(o *ledger) {
	b.settled += o.settled
	for i, n := range o.counts {
		b.counts[i] += n
	}
	for i, n := range o.rare {
		b.rare[i] += n
	}
}

func (b *ledger) addTo(s *Stats) {
	s.Sent += b.settled + b.rare[rareUnknown]
	s.Settled += b.settled - b.rare[rareBounced] // which may wrap round until the routes' are added
	s.Bounced += b.rare[rareBounced]
	s.Unknown += b.rare[rareUnknown]
	s.Rerouted += b.rare[rareRerouted]
	s.DeadLetters += b.rare[rareDeadLetter]
	s.Skipped += b.rare[rareSkipped]
	s.Undecodable += b.rare[rareUndecodable]
	s.Dropped += b.rare[rareDropped]
	s.CutOff += b.rare[rareCutOff]
	b.counts.addTo(s)
}

// book enters something rare, whoever holds whichever lock.
func (r *ring) book(what int, n int) {
	if n == 0 {
		return
	}
	r.core.books.Lock()
	defer r.core.books.Unlock()
	r.bookLocked().rare[what] += uint64(n)
}

// bookFate enters what became of a message that its consumer, which has closed,
// does not count itself.
func (r *ring) bookFate(m *Message) {
	r.core.books.Lock()
	defer r.core.books.Unlock()
	r.bookLocked().counts[m.fate()]++
}

// bookAt is book for an address, which may not be known.
func (c *core) bookAt(address string, what int) {
	if r := c.dir.get(address); r != nil {
		r.book(what, 1)
		return
	}
	c.books.Lock()
	defer c.books.Unlock()
	c.forgotten.rare[what]++
}

// bookLocked returns the ledger to enter something in. The caller holds
// core.books.
func (r *ring) bookLocked() *ledger {
	if r.past == nil {
		r.past = new(ledger)
	}
	return r.past
}

// bookLocked enters what a route that goes for good has counted. The caller holds
// its lock.
func (rt *route) bookLocked() {
	if rt.settled == 0 {
		return
	}
	rt.ring.core.books.Lock()
	defer rt.ring.core.books.Unlock()
	rt.ring.bookLocked().settled += uint64(rt.settled)
}

// forgetBook adds the ledger of a ring that is forgotten to that of all such,
// where what is entered late goes too.
func (r *ring) forgetBook() {
	c := r.core
	c.books.Lock()
	defer c.books.Unlock()
	if r.past != nil {
		c.forgotten.add(r.past)
	}
	r.past = &c.forgotten
}

// book enters what a consumer has counted that is buried and over.
func (c *Consumer) book() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.local.bookLocked()
	if c.counts != nil {
		c.core.books.Lock()
		defer c.core.books.Unlock()
		c.local.ring.bookLocked().add(&ledger{counts: *c.counts})
	}
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
	rings := c.dir.all()
	s.books(c, rings) // before what has settled that which has bounced
	for _, r := range rings {
		s.ring(r)
		for cn := r.mine.Load(); cn != nil; cn = cn.sibling.Load() {
			s.consumer(cn)
		}
	}
	for cn := range c.late {
		if cn.buried { // else its ring has it
			s.consumer(cn)
		}
	}
	for l := range c.links {
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
	for part := range r.routes.Load().parts() {
		for _, rt := range part {
			a.Consumers++
			if rt.link == nil {
				a.Local++
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.line != nil {
		a.Waiting = r.line.len()
	}
}

func (s *survey) consumer(c *Consumer) {
	a := s.at(c.local.ring)
	c.mu.Lock()
	defer c.mu.Unlock()
	a.route(&c.local)
	if c.paused.Load() && !c.closed {
		a.Paused++
	}
	if b := c.box; b != nil {
		if c.passBatchLocked(1) {
			s.credit = append(s.credit, c.local.ring)
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
	for _, rt := range l.routes {
		if rt != nil {
			s.at(rt.ring).route(rt)
		}
	}
}

func (a *AddressStats) route(rt *route) {
	a.Unsettled += int(rt.unsettled)
	a.Sent += uint64(rt.settled + rt.unsettled)
	a.Settled += uint64(rt.settled)
}

func (s *survey) books(c *core, rings []*ring) {
	c.books.Lock()
	defer c.books.Unlock()
	for _, r := range rings {
		if r.past != nil {
			r.past.addTo(&s.at(r).Stats)
		}
	}
	c.forgotten.addTo(&s.forgotten.Stats)
}
