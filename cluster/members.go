package cluster

import (
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/runrig-go/runrig/bus"
)

// update changes the roster, by f unless it is nil, and does what follows:
// peers are dialled or not, events published, changes logged. Nothing that holds
// a lock calls it.
func (n *Node) update(f func()) {
	n.judging.Lock()
	defer n.judging.Unlock()
	failed := false
	for _, c := range n.roster.update(f) {
		n.tell(c)
		failed = failed || c.is.Status == StatusFailed
	}
	n.conclude()
	if failed {
		n.seekNow()
	}
}

// updateAfter updates when d is over, since time changes what the roster says.
func (n *Node) updateAfter(d time.Duration) {
	time.AfterFunc(d, func() {
		if !n.closing.Load() {
			n.update(nil)
		}
	})
}

// tell passes on one change. The caller holds judging.
func (n *Node) tell(c change) {
	was, is := c.was, c.is
	switch {
	case c.seeks && !c.sought && !n.predecessor(is):
		n.peers.alive(is.Peer)
	case c.sought && !c.seeks:
		n.peers.departed(was.Boot)
	}
	if was.Linked() && !is.Linked() {
		n.unlink(was, is)
	}
	if was.Boot == 0 || was.Status != is.Status {
		n.tellStatus(was, is)
	}
	if is.Linked() && !was.Linked() {
		n.hub.publish(Linked{is})
	}
}

// unlink tells that a link has ended.
func (n *Node) unlink(was, is Member) {
	e := Unlinked{is, is.Err}
	if is.Boot == 0 { // nobody but the link knew of it
		was.Since = time.Time{}
		e.Member = was
	}
	n.hub.publish(e)
}

// tellStatus tells that a member's status has changed, or that it is listed no
// more.
func (n *Node) tellStatus(was, is Member) {
	if is.Boot == 0 {
		n.publish(was, Forgotten{was})
		return
	}
	if was.Boot != 0 && was.Status == StatusLeaving && is.Status == StatusLeft {
		return // Left has been told
	}
	switch is.Status {
	case StatusAlive:
		n.publish(was, Joined{is})
	case StatusFailed:
		n.publish(was, Failed{is})
	default:
		n.publish(was, Left{is})
	}
}

// publish logs a change of a member that was as told, and hands it to who reads events.
func (n *Node) publish(was Member, e Event) {
	n.logMember(was, e)
	n.hub.publish(e)
}

// member takes a change from gossip. It does not block: it runs on the goroutine
// that drains serf.
func (n *Node) member(t serf.EventType, sm serf.Member) {
	m, err := memberOf(sm)
	if err != nil {
		n.log.Warn("gossip has a member that is not a node", "err", err)
		return
	}
	if m.Boot == n.self.Boot {
		return
	}
	if t == serf.EventMemberReap {
		n.update(func() { n.roster.forget(m.Boot) })
		n.conflicts.forget(m.Boot)
		return
	}
	var was Status
	var had bool
	n.update(func() { was, had = n.roster.hear(m) })
	if !had && n.predecessor(m) {
		n.outlived(m.Peer)
	}
	n.updateAfter(missedAfter)
	if had && was == StatusFailed && m.Status == StatusAlive {
		n.checkAddress(m)
	}
	if m.Status == StatusFailed {
		n.doubt(m)
	}
}

// doubt acts on gossip's word that a member has failed: its link, if it has one,
// proves itself within a second or breaks. If it holds, others should know that
// gossip does not reach the member.
func (n *Node) doubt(m Member) {
	n.attachment.Probe(m.Boot)
	n.warnUnheard(m.Boot)
	time.AfterFunc(unheardFor, func() { n.warnUnheard(m.Boot) })
}

// predecessor reports whether a member lived at this node's own address: it is
// dead, though gossip may not have noticed yet.
func (n *Node) predecessor(m Member) bool { return m.Addr == n.self.Addr }

// linked takes news of a link.
func (n *Node) linked(who bus.Peer) {
	n.digest.tell(slog.LevelInfo, "link is up", who)
	n.update(func() { n.roster.link(who) })
	n.updateAfter(missedAfter)
}

// unlinked takes news of the end of a link.
func (n *Node) unlinked(who bus.Peer, err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, bus.ErrClosed) { // neither side closed it
		n.digest.tell(slog.LevelInfo, "link broke", who, "err", err)
	}
	n.update(func() { n.roster.unlink(who.Boot, err) })
	n.updateAfter(lostAfter)
	n.updateAfter(missedAfter)
}

// unreached takes news of a dial that failed.
func (n *Node) unreached(who bus.Peer, err error) {
	switch {
	case errors.Is(err, ErrDuplicate): // whose other dial comes
	case errors.Is(err, ErrLeaving):
		n.update(func() { n.roster.leaves(who.Boot) })
	default:
		n.roster.unreached(who.Boot, err)
	}
}

// outlived takes news of a peer at whose address another one lives.
func (n *Node) outlived(who bus.Peer) {
	first := false
	n.update(func() { first = n.roster.outlive(who.Boot) })
	if first {
		n.bury(who)
	}
}
