package bus

import "sync/atomic"

// A bus passes through these states, in order, as it leaves; see "A node leaves" in
// PROTOCOL.md.
const (
	// The bus takes calls, consumers and links.
	//lint:ignore U1000 it is where a bus begins
	busRuns = iota

	// Close has been called. Consumers are closed, or just being closed, and none is
	// taken any more; LEAVING is the first that a new link says. Handlers run, and
	// what was sent back here is placed elsewhere, so that calls go on.
	busLeaves

	// No handler runs and no work comes: all peers have answered LEAVING. Calls are
	// refused, as a program that goes on calling could put off the end for ever. What
	// this node has sent is still to be settled.
	busFinishes

	// GOODBYE is written on every link, as nothing was under way any more or the drain
	// time was over. No link is taken, and nothing is placed or waits.
	busGone

	// All links have ended, and so has all that the bus did on its own.
	busOver
)

// departure is how far the bus has got in leaving. Its state changes under core.mu, and to
// busFinishes and busGone under the locks of all links too: a goroutine that holds one of
// these locks sees the state change between the same frames as the peer.
type departure struct {
	state atomic.Int32
	begun chan struct{} // closed when LEAVING is written on every link
	gone  chan struct{} // closed in busGone
	over  chan struct{} // closed in busOver
	look  chan struct{} // of one: something has ended that the bus may wait for
	err   error         // of Close; guarded by over
}

func (d *departure) init() {
	d.state.Store(busRuns)
	d.begun, d.gone, d.over = make(chan struct{}), make(chan struct{}), make(chan struct{})
	d.look = make(chan struct{}, 1)
}

// at reports whether the bus is in a state, or behind it.
func (d *departure) at(state int32) bool { return d.state.Load() >= state }

// to goes to a state, unless the bus is behind it.
func (d *departure) to(state int32) {
	if !d.at(state) {
		d.state.Store(state)
	}
}

// recheck has a bus that leaves look again whether anything is under way.
func (d *departure) recheck() {
	if !d.at(busLeaves) {
		return
	}
	select {
	case d.look <- struct{}{}:
	default:
	}
}
