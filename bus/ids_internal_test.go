package bus

import (
	"math/rand/v2"
	"testing"
)

// What was added is found by its id until it is taken out, and by no other id ever
// given out.
func TestIDs(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var table ids[int]
	have, gone := map[uint64]*int{}, map[uint64]bool{0: true, 1 << idBits: true}
	for i := range 10_000 {
		if rng.IntN(2) == 0 {
			id := table.add(&i)
			delete(gone, 1<<idBits) // the first one's
			if have[id] != nil || gone[id] {
				t.Fatalf("id %d is given out twice", id)
			}
			have[id] = &i
			continue
		}
		for id, v := range have {
			if table.get(id) != v || table.take(id) != v || table.take(id) != nil {
				t.Fatalf("id %d does not have what was added by it", id)
			}
			delete(have, id)
			gone[id] = true
			break
		}
	}
	for id := range gone {
		if table.get(id) != nil {
			t.Fatalf("id %d still has something", id)
		}
	}
	n := 0
	for id, v := range table.all() {
		if n++; have[id] != v {
			t.Fatalf("all yields id %d with another's", id)
		}
	}
	if n != len(have) {
		t.Errorf("all yields %d of %d", n, len(have))
	}
}
