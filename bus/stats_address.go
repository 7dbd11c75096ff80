package bus

// AddressStats is what this node knows of an address: how it is now, and counters
// that mean what those of [Stats] do, since the address was first known. What a
// consumer that is closed, or on a link that has ended, had counted stays.
//
// A node knows an address while it has a consumer on any node, or a message
// that waits for one. It then forgets it: its counters are added to those of
// the address "", which comes first, so that the sums over all addresses are,
// at rest, those of Stats. LateReplies and Gossip, which have no address, are
// zero.
type AddressStats struct {
	Address string

	Consumers int // on all nodes
	Local     int // of those, on this node
	Paused    int // of those, paused

	PublishedOnly int // of Consumers, those that take no turn

	Waiting   int // messages of this node for which no consumer has room
	Unsettled int // messages of this node that consumers have, here or elsewhere
	Queued    int // messages that wait at this node's consumers
	Running   int // messages that those handle; Handled has them when they are done

	Stats
}

// What became of a message at its consumer.
const (
	outcomeHandled = iota
	outcomeFailed
	outcomePanicked
	outcomeExpired
	outcomeCanceled
	outcomeRefused
	outcomes
)

// counts are messages by what became of them.
type counts [outcomes]uint64

func (n *counts) addTo(s *Stats) {
	s.Handled += n[outcomeHandled] + n[outcomeFailed] + n[outcomePanicked] + n[outcomeRefused]
	s.Failed += n[outcomeFailed]
	s.FailedRequests += n[outcomeRefused]
	s.Panics += n[outcomePanicked]
	s.Expired += n[outcomeExpired]
	s.Canceled += n[outcomeCanceled]
}
