package bus

import "sync"

// books are the ledgers of all addresses. Whoever holds whichever lock may enter
// something.
type books struct {
	mu        sync.Mutex
	forgotten ledger // of addresses that are not known any more
}

// page is where the books have an address. It is guarded by books.mu.
type page struct{ ledger *ledger } // nil: nothing is in it

// count enters something rare.
func (b *books) count(p *page, what counter, n int) {
	if n != 0 {
		b.enter(p, func(l *ledger) { l.rare[what] += uint64(n) })
	}
}

// countForgotten is count for an address that is not known.
func (b *books) countForgotten(what counter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgotten.rare[what]++
}

// enter changes the ledger of an address.
func (b *books) enter(p *page, change func(*ledger)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.ledger == nil {
		p.ledger = new(ledger)
	}
	change(p.ledger)
}

// forget adds the ledger of an address to that of all that are forgotten, where what is
// entered late goes too.
func (b *books) forget(p *page) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.ledger != nil {
		b.forgotten.add(p.ledger)
	}
	p.ledger = &b.forgotten
}

// ledger is the counters of an address that no route or consumer of now has:
// those that gone ones had, and those of what is rare.
type ledger struct {
	settled uint64 // bounced ones too
	counts  counts
	rare    [rareCounters]uint64
}

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
	s.Sent += b.settled + b.rare[countUnknown]
	s.Settled += b.settled - b.rare[countBounced] // below 0 (it wraps round) until what the routes have settled is added
	for c, n := range b.rare {
		*s.field(counter(c)) += n
	}
	b.counts.addTo(s)
}

// book enters something rare.
func (h *home) book(what counter, n int) { h.books.count(&h.page, what, n) }

// bookOutcome enters what became of a message that its consumer, which has closed,
// does not count itself.
func (h *home) bookOutcome(m *Message) {
	h.books.enter(&h.page, func(l *ledger) { l.counts[m.outcome()]++ })
}

// bookSettled enters what a route that goes for good has counted. The caller holds the
// lock of the route's account.
func (rt *route) bookSettled() {
	if n := uint64(rt.settled); n > 0 {
		rt.home.books.enter(&rt.home.page, func(l *ledger) { l.settled += n })
	}
}

// bookConsumer enters what a consumer has counted that is forgotten and handles nothing any
// more.
func (b *books) bookConsumer(c *Consumer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.local.bookSettled()
	if c.counts != nil {
		b.enter(&c.local.home.page, func(l *ledger) { l.add(&ledger{counts: *c.counts}) })
	}
}
