package cluster

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
)

// packetSize is the bytes of a gossip packet.
const packetSize = 1400

// gossipConfig is the configuration of serf: memberlist's for local networks,
// faster to notice and to spread.
func gossipConfig(s *settings, t *transport, boot uint64, events chan serf.Event) *serf.Config {
	logger := newLogBridge(s.log, t.counts, &t.ending, t.refuting)

	ml := memberlist.DefaultLANConfig()
	census := &census{self: boot, own: t.advertise.Addr(), roster: t.roster}
	ml.Transport = t
	ml.Alive = census
	ml.BindAddr = t.bound.Addr().String()
	ml.BindPort = int(t.bound.Port())
	ml.Label = s.cluster
	ml.Logger = logger
	ml.LogOutput = nil
	ml.ProbeInterval = 500 * time.Millisecond
	ml.ProbeTimeout = 200 * time.Millisecond
	ml.SuspicionMult = 3
	ml.SuspicionMaxTimeoutMult = 3
	ml.GossipInterval = 50 * time.Millisecond
	ml.GossipNodes = 3
	ml.RetransmitMult = 6
	ml.PushPullInterval = 10 * time.Second
	ml.TCPTimeout = dialTimeout
	ml.EnableCompression = false
	ml.UDPBufferSize = packetSize - t.envelope.overhead()
	ml.HandoffQueueDepth = 4096
	ml.DeadNodeReclaimTime = time.Second

	c := serf.DefaultConfig()
	c.MemberlistConfig = ml
	c.NodeName = gossipName(s.name, boot)
	c.Tags = gossipTags(boot, s.tags)
	c.EventCh = events
	c.Logger = logger
	c.LogOutput = nil
	c.EnableNameConflictResolution = false // names are unique
	c.DisableCoordinates = true
	c.ValidateNodeNames = true
	c.ReconnectInterval = 100 * time.Hour // the seeker does that, and knows when to stop
	c.ReconnectTimeout = time.Hour
	c.ReconnectTimeoutOverride = census
	c.TombstoneTimeout = 30 * time.Minute
	c.BroadcastTimeout = 700 * time.Millisecond // twice in a leave that nobody is left to hear
	c.LeavePropagateDelay = 300 * time.Millisecond
	c.EventBuffer = eventTimes
	c.QueueCheckInterval = 5 * time.Second
	c.UserEventSizeLimit = packetSize
	return c
}

// A gossipSink takes what serf tells. Its methods do not block.
type gossipSink interface {
	member(serf.EventType, serf.Member)
	payload([]byte)
}

// drain takes serf's events as they come, since serf holds its locks while it
// waits for room, until serf has shut down and the channel is empty.
func drain(events <-chan serf.Event, down <-chan struct{}, sink gossipSink) {
	take := func(e serf.Event) {
		switch e := e.(type) {
		case serf.MemberEvent:
			for _, m := range e.Members {
				sink.member(e.Type, m)
			}
		case serf.UserEvent:
			sink.payload(e.Payload)
		}
	}
	for {
		select {
		case e := <-events:
			take(e)
		case <-down:
			for {
				select {
				case <-events:
				default:
					return
				}
			}
		}
	}
}

// startGossip starts serf. Its log lines may come for some seconds after its
// shutdown.
func startGossip(s *settings, t *transport, boot uint64, events chan serf.Event) (*serf.Serf, error) {
	g, err := serf.Create(gossipConfig(s, t, boot, events))
	if err != nil {
		return nil, fmt.Errorf("cluster: start gossip: %w", err)
	}
	return g, nil
}

// joinGossip joins the nodes at the given addresses, which answer. Events older
// than this node are not wanted.
func joinGossip(g *serf.Serf, first bool, addrs []netip.AddrPort) error {
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	var err error
	if first {
		_, err = g.Join(list, true)
	} else {
		_, err = g.Memberlist().Join(list) // Serf.Join would tell all nodes each time
	}
	if err != nil {
		return errors.Join(errors.New("gossip did not join"), err)
	}
	return nil
}
