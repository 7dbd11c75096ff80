package rehearsal

import "slices"

// numbers is a set of message numbers, kept as the ranges without a gap, so
// that a long run costs as much as its losses.
type numbers struct {
	ranges []span // ascending, with a gap between any two
}

// span is the numbers from lo to hi, both included.
type span struct{ lo, hi uint64 }

// add puts n into the set and reports whether it was new.
func (s *numbers) add(n uint64) bool {
	i, inside := slices.BinarySearchFunc(s.ranges, n, func(r span, n uint64) int {
		switch {
		case r.hi < n:
			return -1
		case r.lo > n:
			return 1
		}
		return 0
	})
	if inside {
		return false
	}
	joinsLeft := i > 0 && s.ranges[i-1].hi+1 == n
	joinsRight := i < len(s.ranges) && n+1 == s.ranges[i].lo
	switch {
	case joinsLeft && joinsRight:
		s.ranges[i-1].hi = s.ranges[i].hi
		s.ranges = slices.Delete(s.ranges, i, i+1)
	case joinsLeft:
		s.ranges[i-1].hi = n
	case joinsRight:
		s.ranges[i].lo = n
	default:
		s.ranges = slices.Insert(s.ranges, i, span{n, n})
	}
	return true
}

// missing counts the numbers from lo to hi that are not in the set.
func (s *numbers) missing(lo, hi uint64) uint64 {
	if lo > hi {
		return 0
	}
	gaps := hi - lo + 1
	for _, r := range s.ranges {
		if a, b := max(r.lo, lo), min(r.hi, hi); a <= b {
			gaps -= b - a + 1
		}
	}
	return gaps
}

// first and last return the ends of the set, 0 if it is empty.
func (s *numbers) first() uint64 {
	if len(s.ranges) == 0 {
		return 0
	}
	return s.ranges[0].lo
}

func (s *numbers) last() uint64 {
	if len(s.ranges) == 0 {
		return 0
	}
	return s.ranges[len(s.ranges)-1].hi
}
