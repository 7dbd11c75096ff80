//go:build !race

package bus

// raceEnabled says that the race detector is on, which allocates of its own.
const raceEnabled = false
