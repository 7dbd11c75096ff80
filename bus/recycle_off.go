//go:build race

package bus

// The race detector does not see that the collector orders the last use of a
// piece of memory before the next.
const recycling = false
