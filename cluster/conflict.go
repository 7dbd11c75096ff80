package cluster

import "fmt"

// flapsProve is how often a member must have come back, while another one lived
// at its address, to be no successor or predecessor of that one. One that is dead
// does not answer for itself; once it may seem to when partitions end.
const flapsProve = 2

// conflicts finds members that live at one address together: gossip reaches only
// one of them, takes the other for failed, and is told by itself that it is not,
// again and again. It belongs to the goroutine that drains serf.
type conflicts struct{ returns map[uint64]int }

// comesBack reports whether it is proven that m, which has come back, lives at an
// address at which another one lives.
func (c *conflicts) comesBack(m Member) bool {
	if c.returns == nil {
		c.returns = map[uint64]int{}
	}
	c.returns[m.Boot]++
	return c.returns[m.Boot] >= flapsProve
}

func (c *conflicts) forget(boot uint64) { delete(c.returns, boot) }

// checkAddress says so when m, whose status was old, turns out to live at the
// address of another node that lives, this one maybe.
func (n *Node) checkAddress(m Member, old Status) {
	if m.Status != StatusAlive || old != StatusFailed {
		return
	}
	other, found := n.roster.neighbour(m)
	if !found || !n.conflicts.comesBack(m) {
		return
	}
	err := fmt.Errorf("%w: %s and %s both at %s; give each its own (Config.Advertise, Config.Bind)", ErrAddress, other, m, m.Addr)
	if held, ok := n.conflictLine.pass(); ok {
		n.log.Error("two nodes that live advertise one address: links with both cannot hold", "peer", m.String(), "address", m.Addr, "err", err, "more", held)
	}
	n.hub.publish(Event{Type: Conflict, Member: n.complete(m), Err: err})
}

// neighbour returns another member that is alive and has the address of m.
func (r *roster) neighbour(m Member) (other Member, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for boot, other := range r.byBoot {
		if boot != m.Boot && other.Addr == m.Addr && other.Status == StatusAlive {
			return other, true
		}
	}
	return Member{}, false
}
