package cluster

import (
	"strconv"

	"github.com/runrig-go/runrig/bus"
)

// A Member is a node of the cluster as this node knows it. Since is when the
// link with it came up, and zero while there is none; for the node itself it is
// when it started.
type Member struct {
	bus.Peer
	Status Status
	Err    error // why there is no link, if one broke or could not be set up; else nil
}

// Linked reports whether messages can be exchanged with the member now.
func (m Member) Linked() bool { return !m.Since.IsZero() }

// Status is what becomes of a member, by what gossip says and by the link with
// it. A member that is linked is alive, even if gossip does not hear it, as in a
// pause of a few seconds. One whose link is down is what gossip says, which
// others may hear; but a node that has lost more links than it still has takes
// nobody's word about those, a second after they broke. One at whose address
// another node answers has failed.
type Status uint8

// The statuses of a member.
const (
	StatusAlive   Status = iota // it answers, here or to others
	StatusLeaving               // it has begun to leave
	StatusLeft                  // it has left
	StatusFailed                // it does not answer, or was replaced at its address
)

// String returns the status in lower case.
func (s Status) String() string {
	switch s {
	case StatusAlive:
		return "alive"
	case StatusLeaving:
		return "leaving"
	case StatusLeft:
		return "left"
	case StatusFailed:
		return "failed"
	}
	return "status " + strconv.Itoa(int(s))
}
