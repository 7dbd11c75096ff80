package bus

import (
	"hash/maphash"
	"sync/atomic"
)

// directory finds the ring of an address: a hash table that is read without a
// lock. Its chains are never changed, but replaced, under core.mu.
type directory struct {
	seed  maphash.Seed
	table atomic.Pointer[[]atomic.Pointer[chain]] // of a power of two
	size  int                                     // addresses; guarded by core.mu
}

type chain struct {
	ring *ring
	next *chain
}

func (d *directory) init() {
	d.seed = maphash.MakeSeed()
	d.resize(16)
}

func (d *directory) slot(address string) *atomic.Pointer[chain] {
	t := *d.table.Load()
	return &t[maphash.String(d.seed, address)&uint64(len(t)-1)]
}

// get returns the ring of the address, nil if there is none.
func (d *directory) get(address string) *ring {
	for c := d.slot(address).Load(); c != nil; c = c.next {
		if c.ring.address == address {
			return c.ring
		}
	}
	return nil
}

// add adds a ring. The caller holds core.mu.
func (d *directory) add(r *ring) {
	if d.size++; d.size > len(*d.table.Load()) {
		d.resize(2 * len(*d.table.Load()))
	}
	d.push(r)
}

func (d *directory) push(r *ring) {
	s := d.slot(r.address)
	s.Store(&chain{r, s.Load()})
}

// remove takes a ring out. The caller holds core.mu.
func (d *directory) remove(r *ring) {
	s := d.slot(r.address)
	var kept *chain
	for c := s.Load(); c != nil; c = c.next {
		if c.ring != r {
			kept = &chain{c.ring, kept}
		}
	}
	s.Store(kept)
	d.size--
	if n := len(*d.table.Load()); n > 16 && d.size < n/8 {
		d.resize(n / 4)
	}
}

// resize makes another table. Readers of the old one find what they did.
func (d *directory) resize(n int) {
	rings := d.all()
	t := make([]atomic.Pointer[chain], n)
	for _, r := range rings {
		s := &t[maphash.String(d.seed, r.address)&uint64(n-1)]
		s.Store(&chain{r, s.Load()})
	}
	d.table.Store(&t)
}

// all returns all rings.
func (d *directory) all() (rs []*ring) {
	t := d.table.Load()
	if t == nil {
		return nil
	}
	for i := range *t {
		for c := (*t)[i].Load(); c != nil; c = c.next {
			rs = append(rs, c.ring)
		}
	}
	return rs
}
