package bus

import "sync/atomic"

// Stats are counters since the bus was made. Each message to each consumer
// counts: a publish to three counts three. At rest
//
//	Sent = Settled + Bounced + Unknown
type Stats struct {
	Sent    uint64 // given to a consumer, on this node or another
	Settled uint64 // of those: handled, or dropped for a reason counted where it was
	Bounced uint64 // of those: sent back unhandled
	Unknown uint64 // of those: under way on a link that broke

	SentLocal uint64 // of Sent: to consumers of this node
	Published uint64 // of Sent: copies of a publish
	Requested uint64 // of Sent: requests

	Rerouted    uint64 // sent back and given to another consumer, or waiting for one
	DeadLetters uint64 // sent back and given to none
	Skipped     uint64 // copies of a publish for consumers that had no room
	LateReplies uint64 // replies to requests that had ended

	Handled        uint64 // by handlers of this node
	Failed         uint64 // of those: sends and publishes whose handler returned an error
	FailedRequests uint64 // of those: requests whose handler returned an error, or called Fail
	Panics         uint64 // of those: whose handler panicked, or ended its goroutine
	Expired        uint64 // not handled, as their deadline was over
	Canceled       uint64 // not handled, as their requester had given up
	Undecodable    uint64 // not handled, as this node does not have their codec
	Dropped        uint64 // copies of a publish for consumers that closed or, of gossip, had no room
	Forgotten      uint64 // of Handled: requests whose answer was deferred and not given by the deadline
	CutOff         uint64 // not handled, as the link broke that they came on; what was sent back before is its sender's, as Bounced or Unknown

	Requests RequestStats

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

// RequestStats are the requests of this node that have ended, by how: each call of
// [EventBus.Request], and of RequestAll each consumer that was asked. A call that was
// wrong (its body could not be encoded, say) was no request. Questions
// ([Message.Request]) do not count.
type RequestStats struct {
	Replied    uint64
	Refused    uint64 // a *ReplyError: the handler's own, or the bus's in its place
	NoConsumer uint64 // ErrNoConsumer
	Busy       uint64 // ErrBusy: no consumer had room in time
	LinkLost   uint64 // ErrLinkLost; not where Idempotent has found another consumer
	TimedOut   uint64 // a consumer had it, and the deadline came
	Canceled   uint64 // the caller gave up
	Other      uint64 // ErrClosed, ErrDeadlock, ErrTooLarge, or a reply that cannot be read
}

// Ended returns how many requests have ended, in whatever way.
func (r RequestStats) Ended() uint64 {
	return r.Replied + r.Refused + r.NoConsumer + r.Busy + r.LinkLost + r.TimedOut + r.Canceled + r.Other
}

// counter is one of the counters of Stats. The rare ones come first: those that are
// counted for each address in its ledger, where they come about. Behind them are those
// that are counted in its account.
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

	countRefused counter = iota - 1 // the next number, as rareCounters is no counter
	countNoConsumer
	countBusy
	countLinkLost
	countTimedOut
	countGivenUp
	countOther
	countPublished
	countRequested
	countReplied
	addressCounters

	// Senders count the next one, and those before it, workers the last ones, at the same
	// time: what is rare is between, so that they are in different lines of the cache.
	countSentLocal counter = iota - 2
	countSentAway          // over links that have ended; link.sent counts for those that are there
	countLateReplies
	countGossipSent
	countGossipReceived
	countGossipDuplicates
	countGossipOld
	countGossipMissed
	countGossipMalformed
	countExpired
	countCanceled
	countFailed
	countFailedRequests
	countPanics
	countSettled
	countHandled
	allCounters
)

// fields returns what each counter is in Stats.
func (s *Stats) fields() [allCounters]*uint64 {
	r := &s.Requests
	return [allCounters]*uint64{
		countBounced: &s.Bounced, countUnknown: &s.Unknown, countRerouted: &s.Rerouted, countDeadLetters: &s.DeadLetters,
		countSkipped: &s.Skipped, countUndecodable: &s.Undecodable, countDropped: &s.Dropped, countCutOff: &s.CutOff, countForgotten: &s.Forgotten,
		countPublished: &s.Published, countRequested: &s.Requested,
		countReplied: &r.Replied, countRefused: &r.Refused, countNoConsumer: &r.NoConsumer, countBusy: &r.Busy,
		countLinkLost: &r.LinkLost, countTimedOut: &r.TimedOut, countGivenUp: &r.Canceled, countOther: &r.Other,
		countSentLocal: &s.SentLocal, countSentAway: &s.Sent, countSettled: &s.Settled, countLateReplies: &s.LateReplies,
		countHandled: &s.Handled, countFailed: &s.Failed, countFailedRequests: &s.FailedRequests, countPanics: &s.Panics,
		countExpired: &s.Expired, countCanceled: &s.Canceled,
		countGossipSent: &s.Gossip.Sent, countGossipReceived: &s.Gossip.Received, countGossipDuplicates: &s.Gossip.Duplicates,
		countGossipOld: &s.Gossip.Old, countGossipMissed: &s.Gossip.Missed, countGossipMalformed: &s.Gossip.Malformed,
	}
}

// add adds the counters of o.
func (s *Stats) add(o *Stats) {
	from := o.fields()
	for c, to := range s.fields() {
		*to += *from[c]
	}
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
	for c, to := range s.fields() {
		*to += n[c].Load()
	}
}

func (c *core) statistics() (s Stats) {
	c.stats.addTo(&s)
	s.Sent += s.SentLocal
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.members.links {
		l.mu.Lock()
		s.Sent += uint64(l.routes.sent)
		l.mu.Unlock()
	}
	return s
}
