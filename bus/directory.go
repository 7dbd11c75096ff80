package bus

import (
	"hash/maphash"
	"maps"
	"sync/atomic"
)

// directory finds the ring of an address. Reading takes no lock; its parts are
// copied on write, so that many addresses can be added one by one.
type directory struct {
	seed  maphash.Seed
	parts [256]atomic.Pointer[map[string]*ring]
}

func (d *directory) part(address string) *atomic.Pointer[map[string]*ring] {
	return &d.parts[maphash.String(d.seed, address)%uint64(len(d.parts))]
}

// get returns the ring of the address, nil if there is none.
func (d *directory) get(address string) *ring {
	if m := d.part(address).Load(); m != nil {
		return (*m)[address]
	}
	return nil
}

// change stores the ring of an address, or takes it out if r is nil. The
// caller holds core.mu.
func (d *directory) change(address string, r *ring) {
	p := d.part(address)
	m := map[string]*ring{}
	if old := p.Load(); old != nil {
		m = maps.Clone(*old)
	}
	if r != nil {
		m[address] = r
	} else {
		delete(m, address)
	}
	p.Store(&m)
}

// all returns all rings.
func (d *directory) all() (rs []*ring) {
	for i := range d.parts {
		if m := d.parts[i].Load(); m != nil {
			for _, r := range *m {
				rs = append(rs, r)
			}
		}
	}
	return rs
}
