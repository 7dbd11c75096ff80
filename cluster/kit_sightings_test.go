package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
)

// sightings count, over all runs, what must be seen sometimes for the test to be
// worth anything.
type sightings struct {
	requests atomic.Int64

	mu      sync.Mutex
	counts  map[string]int
	slowest time.Duration // heal
}

// must says what so many runs must show. Rarer things need more runs.
var must = map[string]int{
	// What was done.
	"kill": 60, "power off": 60, "close": 60, "start": 60, "restart at the address": 60,
	"silence": 60, "partition": 60, "partition one way": 60, "heal": 60, "two apart, both near the others": 60,
	"reset": 60, "cut one way": 60, "stall one way": 60, "pause": 60,
	"packets lost": 60, "packets twice": 60, "all late": 60, "calm": 60,
	"a name for all": 60, "a secret": 60,
	"discovery fails": 60, "discovery tells nothing": 60, "discovery lies": 60,

	// What came of it.
	"call went well": 1, "link lost": 60, "no consumer": 60, "closed": 60, "deadline": 60,
	"message sent back": 60, "message routed again": 300, "message unknown": 60,
	"reply came late": 600, "dead letter": 600,
	"crossing dials": 60, "stale dial": 60, "dial failed": 60,
	"discovery failed": 60,
}

// check fails if something was never seen that so many runs must show.
func (s *sightings) check(t *testing.T, runs int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for what, need := range must {
		if s.counts[what] == 0 && runs >= need {
			t.Errorf("never seen in %d runs: %s", runs, what)
		}
	}
}

func (s *sightings) add(what string, n int) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what] += n
}

// took counts how a call ended, and reports whether it may end so.
func (s *sightings) took(err error) bool {
	if err == nil {
		s.add("call went well", 1)
		return true
	}
	for _, kind := range []struct { // busy may match the deadline's error too
		is   error
		what string
	}{
		{bus.ErrLinkLost, "link lost"}, {bus.ErrNoConsumer, "no consumer"}, {bus.ErrBusy, "busy"},
		{bus.ErrClosed, "closed"}, {context.DeadlineExceeded, "deadline"},
	} {
		if errors.Is(err, kind.is) {
			s.add(kind.what, 1)
			return true
		}
	}
	return false
}

// stats counts what a node has counted.
func (s *sightings) stats(b bus.Stats, n cluster.Stats) {
	for what, k := range map[string]uint64{
		"message sent back": b.Bounced, "message unknown": b.Unknown, "message expired": b.Expired,
		"dead letter": b.DeadLetters, "reply came late": b.LateReplies,
		"crossing dials": n.Refused.Duplicate, "stale dial": n.Refused.Stale, "dial of a node that leaves": n.Refused.Leaving,
		"dial failed": n.DialErrors, "discovery failed": n.DiscoveryErrors, "gossip packet unreadable": n.BadPackets,
		"gossip behind": n.GossipBehind, "too many dials of one node": n.CrowdedPeers,
	} {
		s.add(what, int(k))
	}
}

func (s *sightings) heal(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slowest = max(s.slowest, d)
}

func (s *sightings) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := []string{fmt.Sprintf("%10d  requests; slowest heal %v", s.requests.Load(), s.slowest)}
	for _, what := range slices.Sorted(maps.Keys(s.counts)) {
		lines = append(lines, fmt.Sprintf("%10d  %s", s.counts[what], what))
	}
	return strings.Join(lines, "\n")
}
