package cluster

import (
	"errors"
	"sync/atomic"
)

// Stats are counters of a node since it started.
type Stats struct {
	Refused   Refusals // nodes that this one refused, by reason
	RefusedBy Refusals // refusals that this node got from others, by reason

	// Connections that were closed before a node had told on them who it is, each
	// counted once, here or in Refused.
	Silent        uint64 // not a byte came, as from health checks and port scans
	Ended         uint64 // something came, and then the other end closed it, as a node may that has changed its mind
	TimedOut      uint64 // something came, but not the whole handshake within 3 s
	Garbage       uint64 // what came was not from a node
	Crowded       uint64 // closed at once: 64 others, or 32 and no member's address, had not told who they are
	CrowdedGossip uint64 // closed: 64 gossip streams were open without a secret, or 24 MiB of them were being read
	CrowdedPeers  uint64 // closed: of one node too many of 1,024 that gossip does not know, or one dial too many of a node

	AcceptErrors    uint64 // connections that the system could not give, as when there are no descriptors
	Questions       uint64 // addresses, of discovery and of members that failed, that were asked who is there
	DialErrors      uint64 // dials that reached nobody, or another node: for links, questions and gossip; refusals are counted above
	DiscoveryErrors uint64 // questions to discovery that failed or brought an address that cannot be resolved

	BadPackets    uint64 // packets that were dropped: not from a node of this cluster, or damaged
	Packetless    uint64 // times that a member answered gossip over TCP after it had not over UDP
	GossipBehind  uint64 // times that gossip dropped messages of its own since it was behind, or events since too many came at once
	GossipDropped uint64 // payloads of the gossip lane that came faster than the bus took them
	GossipLate    uint64 // payloads of the gossip lane that came too late to tell whether they are new, and were dropped
	EventsDropped uint64 // refusals, conflicts and the like that a reader of Events was too slow for
}

// Refusals count refusals by reason; see [ErrSecret] and the others.
type Refusals struct {
	Secret, Cluster, Version        uint64 // for a human to mend
	Self, Stale, Duplicate, Leaving uint64 // of the life of a healthy cluster
}

// Sum returns how many refusals there were, for whatever reason.
func (r Refusals) Sum() uint64 {
	return r.Secret + r.Cluster + r.Version + r.Self + r.Stale + r.Duplicate + r.Leaving
}

// counters are what a node's parts count, each in its own.
type counters struct {
	refused, refusedBy refusals

	silent, ended, timedOut, garbage     atomic.Uint64
	crowded, crowdedGossip, crowdedPeers atomic.Uint64
	acceptErrors, dialErrors             atomic.Uint64
	discoveryErrors, questions           atomic.Uint64
	badPackets, packetless               atomic.Uint64
	behind, late                         atomic.Uint64
	payloadsDropped, eventsDropped       atomic.Uint64
}

type refusals struct {
	secret, cluster, version, self, stale, duplicate, leaving atomic.Uint64
}

// refusal counts one.
func (c *counters) refusal(reason error, byPeer bool) {
	r := &c.refused
	if byPeer {
		r = &c.refusedBy
	}
	switch {
	case errors.Is(reason, ErrSecret):
		r.secret.Add(1)
	case errors.Is(reason, ErrCluster):
		r.cluster.Add(1)
	case errors.Is(reason, ErrVersion):
		r.version.Add(1)
	case errors.Is(reason, ErrSelf):
		r.self.Add(1)
	case errors.Is(reason, ErrStale):
		r.stale.Add(1)
	case errors.Is(reason, ErrDuplicate):
		r.duplicate.Add(1)
	case errors.Is(reason, ErrLeaving):
		r.leaving.Add(1)
	}
}

// stranger counts a connection that was closed without a refusal before its node
// told who it is.
func (c *counters) stranger(err error) {
	switch {
	case errors.Is(err, errCrowded):
		c.crowded.Add(1)
	case errors.Is(err, errCrowdedGossip):
		c.crowdedGossip.Add(1)
	case errors.Is(err, errSurplus):
		c.crowdedPeers.Add(1)
	case errors.Is(err, errSilent):
		c.silent.Add(1)
	case hasTimedOut(err):
		c.timedOut.Add(1)
	case hasEnded(err):
		c.ended.Add(1)
	default:
		c.garbage.Add(1)
	}
}

func (r *refusals) load() Refusals {
	return Refusals{
		Secret:    r.secret.Load(),
		Cluster:   r.cluster.Load(),
		Version:   r.version.Load(),
		Self:      r.self.Load(),
		Stale:     r.stale.Load(),
		Duplicate: r.duplicate.Load(),
		Leaving:   r.leaving.Load(),
	}
}

func (c *counters) load() Stats {
	return Stats{
		Refused:         c.refused.load(),
		RefusedBy:       c.refusedBy.load(),
		Silent:          c.silent.Load(),
		Ended:           c.ended.Load(),
		TimedOut:        c.timedOut.Load(),
		Garbage:         c.garbage.Load(),
		Crowded:         c.crowded.Load(),
		CrowdedGossip:   c.crowdedGossip.Load(),
		CrowdedPeers:    c.crowdedPeers.Load(),
		AcceptErrors:    c.acceptErrors.Load(),
		DialErrors:      c.dialErrors.Load(),
		DiscoveryErrors: c.discoveryErrors.Load(),
		Questions:       c.questions.Load(),
		BadPackets:      c.badPackets.Load(),
		Packetless:      c.packetless.Load(),
		GossipBehind:    c.behind.Load(),
		GossipDropped:   c.payloadsDropped.Load(),
		GossipLate:      c.late.Load(),
		EventsDropped:   c.eventsDropped.Load(),
	}
}
