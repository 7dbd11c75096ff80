package bus

import "sync/atomic"

// Stats are counters since the bus was made. Each message to each consumer
// counts: a publish to three counts three. At rest
//
//	Sent = Settled + Bounced + Unknown
type Stats struct {
	Sent    uint64 // given to a route, on this node or another
	Settled uint64 // of those: handled, or dropped for a reason counted where it was
	Bounced uint64 // of those: sent back unhandled
	Unknown uint64 // of those: under way on a link that broke

	Rerouted    uint64 // sent back and given to another consumer, or waiting for one
	DeadLetters uint64 // sent back and given to none
	Skipped     uint64 // copies of a publish for consumers that had no room
	LateReplies uint64 // replies to requests that had ended

	Handled     uint64 // by handlers of this node
	Failed      uint64 // of those: sends and publishes whose handler returned an error
	Panics      uint64 // of those: whose handler panicked, or ended its goroutine
	Expired     uint64 // not handled, as their deadline was over
	Canceled    uint64 // not handled, as their requester had given up
	Undecodable uint64 // not handled, as this node does not have their codec
	Dropped     uint64 // copies of a publish for consumers that closed or, of gossip, had no room
	Forgotten   uint64 // of Handled: requests whose answer was deferred and not given by the deadline
	CutOff      uint64 // not handled, as the link broke that they came on; what was sent back before is its sender's, as Bounced or Unknown

	// Gossip counts on the gossip lane.
	Gossip struct {
		Sent       uint64
		Received   uint64 // for the first time, from others
		Duplicates uint64
		Old        uint64 // from over an hour before this node was part of the cluster, by their senders' clocks
		Missed     uint64 // known by a gap in the numbers; it falls when one comes late
		Malformed  uint64
	}
}

// counter is one of the counters of Stats. The rare ones come first: those that are
// counted for each address where they come about.
type counter uint8

const (
	countBounced counter = iota
	countUnknown
	countRerouted
	countDeadLetters
	countSkipped
	countUndecodable
	countDropped
	countCutOff
	countForgotten
	rareCounters

	countSent counter = iota - 1 // the next number, as rareCounters is no counter. Messages over links that are up are counted by link.sent
	countSettled
	countLateReplies
	countHandled
	countFailed
	countPanics
	countExpired
	countCanceled
	countGossipSent
	countGossipReceived
	countGossipDuplicates
	countGossipOld
	countGossipMissed
	countGossipMalformed
	allCounters
)

// field returns what a counter is in Stats.
func (s *Stats) field(c counter) *uint64 {
	return [allCounters]*uint64{
		countBounced: &s.Bounced, countUnknown: &s.Unknown, countRerouted: &s.Rerouted, countDeadLetters: &s.DeadLetters,
		countSkipped: &s.Skipped, countUndecodable: &s.Undecodable, countDropped: &s.Dropped, countCutOff: &s.CutOff, countForgotten: &s.Forgotten,
		countSent: &s.Sent, countSettled: &s.Settled, countLateReplies: &s.LateReplies,
		countHandled: &s.Handled, countFailed: &s.Failed, countPanics: &s.Panics,
		countExpired: &s.Expired, countCanceled: &s.Canceled,
		countGossipSent: &s.Gossip.Sent, countGossipReceived: &s.Gossip.Received, countGossipDuplicates: &s.Gossip.Duplicates,
		countGossipOld: &s.Gossip.Old, countGossipMissed: &s.Gossip.Missed, countGossipMalformed: &s.Gossip.Malformed,
	}[c]
}

// counters are those of the bus. Each has a cache line of its own, so that goroutines that
// count different things do not wait for each other's.
type counters [allCounters]struct {
	atomic.Uint64
	_ [cacheLine - 8]byte
}

const cacheLine = 64 // bytes, of most processors

func (n *counters) add(c counter, by uint64) { n[c].Add(by) }

// addTo adds the counters to those of s.
func (n *counters) addTo(s *Stats) {
	for c := range n {
		*s.field(counter(c)) += n[c].Load()
	}
}

func (c *core) statistics() (s Stats) {
	c.stats.addTo(&s)
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.members.links {
		l.mu.Lock()
		s.Sent += uint64(l.routes.sent)
		l.mu.Unlock()
	}
	return s
}
