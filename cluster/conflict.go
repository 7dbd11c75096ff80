package cluster

import (
	"fmt"

	"github.com/runrig-go/runrig/bus"
)

// returnsProve is how often a member must have come back, while another one lived
// at its address, to be no successor or predecessor of that one. One that is dead
// does not answer for itself; once it may seem to when partitions end.
const returnsProve = 2

// conflicts finds members that live at one address together: gossip reaches only
// one of them, takes the other for failed, and is told by itself that it is not,
// again and again. It belongs to the goroutine that drains serf.
type conflicts struct{ returns map[uint64]int }

// comesBack reports whether it is proven that a member, which has come back,
// lives at an address at which another one lives.
func (c *conflicts) comesBack(boot uint64) bool {
	if c.returns == nil {
		c.returns = map[uint64]int{}
	}
	c.returns[boot]++
	return c.returns[boot] >= returnsProve
}

func (c *conflicts) forget(boot uint64) { delete(c.returns, boot) }

// checkAddress says so when m, which has come back, turns out to live at the
// address of another node that lives, this one maybe.
func (n *Node) checkAddress(m Member) {
	other, found := n.self, n.predecessor(m)
	if !found {
		other, found = n.roster.neighbour(m)
	}
	if found && n.conflicts.comesBack(m.Boot) {
		n.conflict(m, other)
	}
}

// occupied takes news of another node that answers at the address which this one
// advertises.
func (n *Node) occupied(who bus.Peer) {
	m, known := n.roster.get(who.Boot)
	if !known {
		m.Peer = who
	}
	n.conflict(m, n.self)
}

// conflict says that two nodes live at one address.
func (n *Node) conflict(m, other Member) {
	err := fmt.Errorf("%w: %s and %s both at %s; give each its own (Config.Advertise, Config.Bind)", ErrAddress, other, m, other.Addr)
	if other.Boot == n.self.Boot {
		n.reach.doubt(err)
	}
	if held, ok := n.conflictLine.pass(); ok {
		n.log.Error("two nodes that live advertise one address: links with both cannot hold", "peer", m.String(), "address", other.Addr, "err", err, "more", held)
	}
	n.hub.publish(Conflict{m, err})
}
