package cluster

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/serf/serf"

	"github.com/runrig-go/runrig/bus"
)

// Limits of the gossip lane.
const (
	laneRate      = 4 << 10  // bytes a second that one node may put on the lane, as encoded
	laneBurst     = 16 << 10 // bytes that it may save up
	laneQueue     = 1024     // received payloads that the bus has not taken yet; more are dropped
	eventOverhead = 48       // at most what serf adds to a payload and its name
	laneName      = 8        // bytes of an event's name
)

// A lane is the gossip lane of the bus.
type lane struct {
	serf   atomic.Pointer[serf.Serf]
	boot   uint64
	seq    atomic.Uint32
	room   int // bytes of a payload that fit a packet
	budget *bucket
}

var _ bus.Gossiper = (*lane)(nil)

func newLane(s *settings, boot uint64) *lane {
	// What memberlist takes of a packet: compound headers 2+2, a message type,
	// the label with two bytes, and a checksum; and what the envelope takes.
	room := packetSize - 2 - 2 - 1 - (2 + len(s.cluster)) - 5 - s.envelope.overhead()
	return &lane{boot: boot, room: room - eventOverhead - laneName, budget: newBucket(laneRate, laneBurst)}
}

// Gossip queues a payload for all nodes, this one too.
func (l *lane) Gossip(payload []byte) error {
	s := l.serf.Load()
	if s == nil || s.State() != serf.SerfAlive {
		return fmt.Errorf("gossip lane: %w: the node is not in the cluster", bus.ErrClosed)
	}
	if len(payload) > l.room {
		return fmt.Errorf("gossip lane: %w: %d bytes, encoded, do not fit one packet; the limit is %d", bus.ErrTooLarge, len(payload), l.room)
	}
	if !l.budget.take(len(payload) + laneName + eventOverhead) {
		return fmt.Errorf("gossip lane: %w: a node may send %d bytes a second", bus.ErrBusy, laneRate)
	}
	if err := s.UserEvent(l.name(), payload, false); err != nil {
		return fmt.Errorf("gossip lane: %w", err)
	}
	return nil
}

// name makes equal payloads different, as serf takes events of the same name,
// payload and logical time for one.
func (l *lane) name() string {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, laneName), uint32(l.boot))
	return string(binary.BigEndian.AppendUint32(b, l.seq.Add(1)))
}
