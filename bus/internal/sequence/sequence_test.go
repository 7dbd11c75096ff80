package sequence

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A sequence has the items that were put in and not taken out, in order, and so has
// each that others were made of.
func TestSequence(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		first := make([]int, rng.IntN(5000))
		for i := range first {
			first[i] = i
		}
		have := slices.Clone(first)
		s := New(first)
		type version struct {
			s    Of[int]
			have []int
		}
		versions := []version{{s, slices.Clone(have)}}
		for range 30 {
			grow := rng.IntN(2) == 0
			for range rng.IntN(200) {
				switch {
				case grow:
					n := rng.Int()
					s, have = s.With(n), append(have, n)
				case len(have) > 0:
					i, last := rng.IntN(len(have)), len(have)-1
					s = s.Without(i)
					have[i] = have[last]
					have = have[:last]
				}
			}
			versions = append(versions, version{s, slices.Clone(have)})
		}
		for i, v := range versions {
			check(t, &v.s, v.have)
			if t.Failed() {
				t.Fatalf("seed %d, version %d", seed, i)
			}
		}
	}
}

// A sequence is no higher than its size needs, whatever it was before.
func TestShrinks(t *testing.T) {
	t.Parallel()
	var s Of[int]
	for i := range 5000 {
		s = s.With(i)
	}
	if s.height != 2 {
		t.Errorf("5,000 items are %d high", s.height)
	}
	for s.Len() > 33 {
		s = s.Without(s.Len() / 2)
	}
	if s.height != 1 || len(s.top.kids) != 2 {
		t.Errorf("33 items are %d high, with %d leaves", s.height, len(s.top.kids))
	}
	for s.Len() > 0 {
		s = s.Without(0)
	}
	if s.Leaves() != 0 || s.top != nil {
		t.Error("of no items some are left")
	}
}

func check(t *testing.T, s *Of[int], want []int) {
	t.Helper()
	var got []int
	for part := range s.Parts() {
		got = append(got, part...)
	}
	if s.Len() != len(want) || !slices.Equal(got, want) {
		t.Errorf("%d items, %v; want %d, %v", s.Len(), got, len(want), want)
	}
	for i := 0; i < len(want); i += 1 + len(want)/50 {
		if s.At(i) != want[i] {
			t.Errorf("item %d is %d, not %d", i, s.At(i), want[i])
		}
	}
}
