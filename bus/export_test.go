package bus

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
