package rehearsal

import (
	"math/rand/v2"
	"testing"
)

func TestNumbers(t *testing.T) {
	t.Parallel()
	var s numbers
	if s.first() != 0 || s.last() != 0 || s.missing(1, 3) != 3 || s.missing(1, 0) != 0 {
		t.Fatalf("the empty set: first %d, last %d, %d missing of 3", s.first(), s.last(), s.missing(1, 3))
	}
	for _, n := range []uint64{5, 3, 4, 9, 1} {
		if !s.add(n) {
			t.Errorf("add(%d) said that it was there", n)
		}
	}
	for _, n := range []uint64{1, 3, 4, 5, 9} {
		if s.add(n) {
			t.Errorf("add(%d) a second time said that it was new", n)
		}
	}
	if s.first() != 1 || s.last() != 9 || s.missing(1, 9) != 4 || s.missing(3, 5) != 0 || s.missing(9, 12) != 3 {
		t.Errorf("1, 3-5, 9: %+v, missing(1, 9) = %d", s, s.missing(1, 9))
	}
}

func TestNumbersAgreeWithAMap(t *testing.T) {
	t.Parallel()
	const top = 200
	var s numbers
	seen := map[uint64]bool{}
	for range 150 {
		n := 1 + rand.Uint64N(top)
		if s.add(n) == seen[n] {
			t.Fatalf("add(%d): new is %t", n, seen[n])
		}
		seen[n] = true
		lo := 1 + rand.Uint64N(top)
		var want uint64
		for i := lo; i <= top; i++ {
			if !seen[i] {
				want++
			}
		}
		if got := s.missing(lo, top); got != want {
			t.Fatalf("missing(%d, %d) = %d, want %d; %v", lo, top, got, want, s.ranges)
		}
	}
	for i := 1; i < len(s.ranges); i++ {
		if s.ranges[i-1].hi+1 >= s.ranges[i].lo {
			t.Fatalf("ranges touch: %v", s.ranges)
		}
	}
}
