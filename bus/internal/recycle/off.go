//go:build race

package recycle

// Enabled says whether memory is used again. The race detector does not see that
// the collector orders the last use of a piece of memory before the next.
const Enabled = false
