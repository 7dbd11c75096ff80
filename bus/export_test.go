package bus

import "github.com/runrig-go/runrig/bus/internal/recycle"

// Numbers returns how many numbers of routes the bus has ever had in use at once.
func Numbers(eb *EventBus) int {
	eb.core.mu.Lock()
	defer eb.core.mu.Unlock()
	return len(eb.core.consumers) - 1
}

// NumbersOf returns how many numbers of routes are in use.
func NumbersOf(eb *EventBus) int {
	eb.core.mu.Lock()
	defer eb.core.mu.Unlock()
	return len(eb.core.consumers) - 1 - len(eb.core.free)
}

// Recycling says whether memory of bodies is used again.
const Recycling = recycle.Enabled

// Recycled returns how many bytes of bodies are kept to be used again.
func Recycled(eb *EventBus) int { return eb.core.bodies.Kept() }

// PoolMissing returns how many bytes windows have taken out of the pool.
func PoolMissing(eb *EventBus) int64 { return eb.core.memory - eb.core.pool.free.Load() }

// Assembling returns how many bytes are reserved for large bodies that come in.
func Assembling(eb *EventBus) int64 {
	b := &eb.core.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total - b.free
}
