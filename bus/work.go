package bus

import "sync/atomic"

// work counts what is under way in the bus as a whole, beside what is on its links.
type work struct {
	waiting atomic.Int32 // messages in waiting lists
	placing atomic.Int32 // messages taken back, from consumers or links, that are in none yet
	active  atomic.Int64 // consumers that have work
}
