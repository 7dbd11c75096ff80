package bus

// ledger is the counters of an address that no route or consumer of now has: those that
// gone ones had, and those of what is rare. It is guarded by books.mu.
type ledger struct {
	settled uint64 // on routes that have gone; bounced ones too
	late    uint64 // on routes that have gone, and not settled yet
	local   uint64 // of settled and late: to consumers of this node
	counts  counts // of consumers that are closed
	rare    [rareCounters]uint64
}

func (b *ledger) add(o *ledger) {
	b.settled += o.settled
	b.late += o.late
	b.local += o.local
	for i, n := range o.counts {
		b.counts[i] += n
	}
	for i, n := range o.rare {
		b.rare[i] += n
	}
}

func (b *ledger) addTo(a *AddressStats) {
	a.Unsettled += int(b.late)
	a.Sent += b.settled + b.late + b.rare[countUnknown]
	a.SentLocal += b.local
	a.Settled += b.settled - b.rare[countBounced] // below 0 (it wraps round) until what the routes have settled is added
	b.counts.addTo(&a.Stats)
}

// book enters something rare.
func (h *home) book(what counter, n int) {
	if n != 0 {
		h.books.enter(&h.page, func(l *ledger) { l.rare[what] += uint64(n) })
	}
}

// bookOutcome enters what became of a message at a consumer that is closed.
func (h *home) bookOutcome(m *Message) {
	h.books.enter(&h.page, func(l *ledger) { l.counts[m.outcome()]++ })
}

// remove notes that a route is no longer part of its ring, and enters what it has
// counted: so the ring's routes and its ledger have each message once, in one step for
// who holds core.mu. The caller holds it, and the lock of the route's account.
func (rt *route) remove() {
	rt.removed = true
	if rt.settled+rt.unsettled > 0 {
		rt.bookLate(rt.settled, rt.unsettled)
	}
}

// bookLate enters what is settled, and has become unsettled, on a route that has gone.
func (rt *route) bookLate(settled, unsettled int64) {
	local := settled + unsettled
	if rt.link() != nil {
		local = 0
	}
	rt.home.books.enter(&rt.home.page, func(l *ledger) {
		l.settled += uint64(settled)
		l.late += uint64(unsettled) // two's complement: it may fall
		l.local += uint64(local)
	})
}

// bookCounts enters what became of the messages of a consumer that closes.
func (c *Consumer) bookCounts() {
	if c.counts == nil || c.local.home == nil {
		return
	}
	c.local.home.books.enter(&c.local.home.page, func(l *ledger) { l.add(&ledger{counts: *c.counts}) })
	*c.counts = counts{}
}
