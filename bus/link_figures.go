package bus

import (
	"slices"
	"strings"
	"time"
)

// LinkStats is a link to another node at one moment, and counters since it came up.
type LinkStats struct {
	Peer Peer

	BytesIn, BytesOut uint64 // read from its connection, and written to it, by TLS counted before it is encrypted
	Queued            int    // bytes that are to be written, without large bodies
	Sent              uint64 // messages
	Unsettled         int    // of those: not handled yet
	Coming            int    // messages from there that are not handled yet here
	Requests          int    // of this node, that wait for a reply from there
	Stalls            uint64 // how often messages of an address began to wait for room in the link

	Routes RoutesDigest // what this node knows of the peer's consumers

	LastRead  time.Time     // when something came last
	RoundTrip time.Duration // of the last ping of this node that was answered, in the last five seconds or so; 0 while none was
}

// Links returns the links to all nodes of [EventBus.Peers], in the same order. A ping has
// its turn before messages, also where the link is full, so its time is that of the
// network, and of what the system has taken and not sent.
func (eb *EventBus) Links() []LinkStats { return eb.core.members.figures(&eb.core.clock) }

// figures returns those of all links that are up.
func (m *members) figures(clk *clock) (all []LinkStats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for l := range m.links {
		if l.isUp() {
			all = append(all, l.figures(clk))
		}
	}
	slices.SortFunc(all, func(a, b LinkStats) int { return strings.Compare(a.Peer.String(), b.Peer.String()) })
	return all
}

func (l *link) figures(clk *clock) LinkStats {
	s := LinkStats{
		Peer: l.peer, Routes: l.believed, BytesIn: l.ear.bytes.Load(), Coming: int(l.inbounds.unsettled.Load()), Requests: int(l.pend.n.Load()),
		LastRead: clk.timeOf(l.ear.lastRead.Load()), RoundTrip: time.Duration(l.roundTrip.Load()),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.BytesOut, s.Queued = l.bytesOut, len(l.first)+l.backlog()
	s.Sent, s.Unsettled, s.Stalls = uint64(l.routes.sent), int(l.routes.outside), l.entrance.stalls
	return s
}
