package cluster

import (
	"fmt"
	"sync"
	"time"
)

const (
	unheardFor   = time.Second     // how long gossip must not hear a linked member before that is told
	flapsTold    = 3               // how often gossip must lose a linked member, or this node, before that is told
	flapsApart   = 2 * time.Second // refutations that come faster are of one loss
	spellsPart   = time.Minute     // how long all must be well for the next loss to be told again
	troubleLasts = 2 * time.Minute // how long an address stays in doubt after what was said of it
)

// A spell is a time in which gossip loses a member whose link holds, or this
// node itself, again and again.
type spell struct {
	flaps int
	last  time.Time // when it was lost last
	told  bool
}

// lose counts a loss, in a new spell if the last one is over.
func (s *spell) lose() {
	now := time.Now()
	switch {
	case now.Sub(s.last) >= spellsPart:
		*s = spell{}
	case now.Sub(s.last) < flapsApart:
		return
	}
	s.flaps++
	s.last = now
}

// tell reports true once in a spell: when it is bad, or was long enough.
func (s *spell) tell(bad bool) bool {
	if s.told || !bad && s.flaps < flapsTold {
		return false
	}
	s.told = true
	return true
}

// warnUnheard warns once in a spell of a member that gossip does not hear,
// though it is linked. It is called when gossip has lost one, and a moment
// later.
func (n *Node) warnUnheard(boot uint64) {
	if m, ok := n.roster.unheard(boot); ok {
		n.log.Warn("gossip does not reach a member that is linked: is its advertised address right, and UDP open both ways?",
			"peer", m.String(), "address", m.Addr)
	}
}

// unheard returns a member that is linked and that gossip does not hear, if that
// is to be told now.
func (r *roster) unheard(boot uint64) (Member, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.byBoot[boot]
	if e == nil || !e.Linked() || e.gossip != StatusFailed {
		return Member{}, false
	}
	return e.Member, e.unheard.tell(time.Since(e.unheard.last) >= unheardFor)
}

// reach is what others say of the address that this node advertises.
type reach struct {
	mu    sync.Mutex
	lost  spell
	wrong error // what was said last
	until time.Time
}

// refute takes that gossip had to refute that this node has failed. It reports
// whether that is to be told.
func (r *reach) refute() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost.lose()
	if r.lost.flaps >= flapsTold {
		r.until = time.Now().Add(troubleLasts)
	}
	return r.lost.tell(false)
}

// doubt notes for a while what is wrong with the address.
func (r *reach) doubt(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong, r.until = err, time.Now().Add(troubleLasts)
}

// err returns what is wrong with the address, if anything was lately.
func (r *reach) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().After(r.until) {
		return nil
	}
	return r.wrong
}

// refuting takes that gossip refutes that this node has failed. The node that is
// wrong is the only one that can mend it, so it says so itself, loudly.
func (n *Node) refuting() {
	if !n.reach.refute() {
		return
	}
	err := fmt.Errorf("%w: %s is at %s for them; see Config.Advertise, and whether the port is open for TCP and UDP from all nodes", ErrUnreached, n.self, n.self.Addr)
	n.reach.doubt(err)
	n.log.Error("others take this node for failed again and again: they do not reach it at the address it advertises", "address", n.self.Addr, "err", err)
	n.hub.publish(Unreached{err})
}
