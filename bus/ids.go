package bus

import "iter"

// ids is a table of things by ids, of which none is given out twice: an id is the number
// of a place with its generation.
type ids[T any] struct {
	places []idPlace[T]
	free   []uint32
}

type idPlace[T any] struct {
	has *T // nil: the place is free
	gen uint64
}

const idBits = 24 // of an id are the place's number

// add adds v and returns its id, which is not 0.
func (t *ids[T]) add(v *T) uint64 {
	if len(t.free) == 0 {
		t.places = append(t.places, idPlace[T]{gen: 1})
		t.free = append(t.free, uint32(len(t.places)-1))
	}
	at := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	p := &t.places[at]
	p.has = v
	return p.gen<<idBits | uint64(at)
}

// get returns what has an id, nil if nothing has.
func (t *ids[T]) get(id uint64) *T {
	if p := t.place(id); p != nil {
		return p.has
	}
	return nil
}

// take takes out what has an id, and returns it; nil if nothing has.
func (t *ids[T]) take(id uint64) *T {
	p := t.place(id)
	if p == nil || p.has == nil {
		return nil
	}
	v := p.has
	p.has = nil
	p.gen++
	t.free = append(t.free, uint32(id&(1<<idBits-1)))
	return v
}

func (t *ids[T]) place(id uint64) *idPlace[T] {
	at := id & (1<<idBits - 1)
	if at >= uint64(len(t.places)) || t.places[at].gen != id>>idBits {
		return nil
	}
	return &t.places[at]
}

// all yields everything with its id. What is yielded may be taken out.
func (t *ids[T]) all() iter.Seq2[uint64, *T] {
	return func(yield func(uint64, *T) bool) {
		for at, p := range t.places {
			if p.has != nil && !yield(p.gen<<idBits|uint64(at), p.has) {
				return
			}
		}
	}
}
