package bus

// Each end of a link passes through the states of "The peer's half" and "Our half" in
// PROTOCOL.md, in order; it may skip some.

// ours is what this node has said on a link. It is guarded by writer.mu.
type ours uint8

const (
	// The whole set of this node's consumers is not yet written.
	//lint:ignore U1000 it is where a link begins
	oursAnnouncing ours = iota

	// The set is written, and changes of it follow.
	oursUp

	// LEAVING is written, which takes all consumers back: no ROUTES follows.
	oursLeaving

	// LEAVING_OK has come: no message comes any more. What came is settled yet.
	oursLeft

	// GOODBYE is written: nothing follows.
	oursGone
)

// theirs is what the peer has said on a link. It is guarded by writer.mu.
type theirs uint8

const (
	// The whole set of the peer's consumers is not yet in.
	//lint:ignore U1000 it is where a link begins
	theirsComing theirs = iota

	// The set is in, and the peer takes messages.
	theirsUp

	// The peer leaves, or is superseded, or the link has ended: its routes are gone, or
	// just going, and it gets no message.
	theirsLeaving
)

// to goes to a state, unless the link is behind it.
func (o *ours) to(s ours)     { *o = max(*o, s) }
func (t *theirs) to(s theirs) { *t = max(*t, s) }
