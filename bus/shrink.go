package bus

import "slices"

// sparesKept is how many unused places a slice may have that was longer once.
const sparesKept = 1 << 10

// trimmed cuts off the places at the end of s that are empty, and gives their memory
// back where it is most of what s has.
func trimmed[T any](s []*T) []*T {
	for len(s) > 0 && s[len(s)-1] == nil {
		s = s[:len(s)-1]
	}
	return shrunk(s)
}

// shrunk gives back the memory behind the end of s where it is most of what s has.
func shrunk[T any](s []T) []T {
	if cap(s) > sparesKept && len(s) < cap(s)/4 {
		return slices.Clone(s)
	}
	return s
}
