package bus

import (
	"sync"
	"sync/atomic"
)

// books are the accounts of all addresses. A goroutine that holds any lock may enter
// something.
type books struct {
	mu        sync.Mutex
	forgotten account // of addresses that are not known any more
}

// page is where the books have an address.
type page struct{ account atomic.Pointer[account] } // nil: nothing is in it

// account is what is counted at an address, but for what its routes and consumers
// count themselves. It is made when there is something to count.
type account struct {
	spans  [allSpans]atomic.Pointer[meter] // nil: nothing has been timed
	ledger ledger                          // guarded by books.mu
	counts [addressCounters - rareCounters]atomic.Uint64
}

// of returns the account of an address.
func (b *books) of(p *page) *account {
	a := p.account.Load()
	for a == nil {
		if a = new(account); !p.account.CompareAndSwap(nil, a) {
			a = p.account.Load()
		}
	}
	return a
}

// enter changes the ledger of an address.
func (b *books) enter(p *page, change func(*ledger)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.of(p).ledger)
}

// bookForgotten is home.book for an address that is not known.
func (b *books) bookForgotten(what counter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgotten.ledger.rare[what]++
}

// forget adds the account of an address to that of all that are forgotten, which the
// address has from then on.
func (b *books) forget(p *page) {
	if a := p.account.Swap(&b.forgotten); a != nil {
		b.absorb(a)
	}
}

// absorb moves what is in the account of an address to that of all that are forgotten.
func (b *books) absorb(a *account) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a == &b.forgotten {
		return
	}
	f := &b.forgotten
	f.ledger.add(&a.ledger)
	a.ledger = ledger{}
	for i := range a.counts {
		f.counts[i].Add(a.counts[i].Swap(0))
	}
	for i := range a.spans {
		if m := a.spans[i].Load(); m != nil {
			f.span(span(i)).absorb(m)
		}
	}
}

// noted goes on when something was added to the account of an address. If the address
// was forgotten meanwhile, this goroutine moves what was added, unless the one that forgets
// has seen it.
func (b *books) noted(p *page, a *account) {
	if p.account.Load() != a {
		b.absorb(a)
	}
}

// tell adds what an account has to the statistics of its address.
func (b *books) tell(a *account, s *AddressStats) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.ledger.addTo(s)
	fields := s.fields()
	for c, n := range a.ledger.rare {
		*fields[c] += n
	}
	for i := range a.counts {
		*fields[int(rareCounters)+i] += a.counts[i].Load()
	}
}

// count counts something at an address, and of the bus; n may be negative.
func (h *home) count(what counter, n int) {
	h.stats.add(what, uint64(n)) // two's complement
	a := h.books.of(&h.page)
	a.counts[what-rareCounters].Add(uint64(n))
	h.books.noted(&h.page, a)
}
