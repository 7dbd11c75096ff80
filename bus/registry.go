package bus

// registry is what the parts below ask of the registry of all addresses, whose lock is
// core.mu: none that comes behind that may be held.
type registry interface {
	// reroute gives a message that was sent back to another consumer of the address.
	reroute(address string, o *outgoing, takenBack bool)

	// dead ends a message that cannot be placed.
	dead(address string, o *outgoing, reason error)

	// forget forgets the address if nothing is left of it.
	forget(address string)

	// noConsumer is the error for an address without a consumer.
	noConsumer(address string) error
}
