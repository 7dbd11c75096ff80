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

type counters struct {
	local, linkSent, settled, bounced, unknown      atomic.Uint64
	rerouted, deadLetters, skipped, lateReplies     atomic.Uint64
	handled, failed, panics                         atomic.Uint64
	expired, canceled, undecodable, dropped, cutOff atomic.Uint64
	gossipSent, gossipReceived, gossipDuplicates    atomic.Uint64
	gossipOld, gossipMissed, gossipBad              atomic.Uint64
}

func (c *core) statistics() Stats {
	s := &c.stats
	sent := s.local.Load() + s.linkSent.Load()
	c.mu.Lock()
	for l := range c.links {
		l.mu.Lock()
		sent += uint64(l.sent)
		l.mu.Unlock()
	}
	c.mu.Unlock()
	all := Stats{
		Sent: sent, Settled: s.settled.Load(), Bounced: s.bounced.Load(), Unknown: s.unknown.Load(),
		Rerouted: s.rerouted.Load(), DeadLetters: s.deadLetters.Load(), Skipped: s.skipped.Load(), LateReplies: s.lateReplies.Load(),
		Handled: s.handled.Load(), Failed: s.failed.Load(), Panics: s.panics.Load(),
		Expired: s.expired.Load(), Canceled: s.canceled.Load(), Undecodable: s.undecodable.Load(), Dropped: s.dropped.Load(), CutOff: s.cutOff.Load(),
	}
	g := &all.Gossip
	g.Sent, g.Received, g.Duplicates = s.gossipSent.Load(), s.gossipReceived.Load(), s.gossipDuplicates.Load()
	g.Old, g.Missed, g.Malformed = s.gossipOld.Load(), s.gossipMissed.Load(), s.gossipBad.Load()
	return all
}
