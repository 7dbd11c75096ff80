package cluster

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hashicorp/serf/serf"

	"github.com/runrig-go/runrig/bus"
)

// A Member is a node of the cluster as this node knows it. Since is when the
// link with it came up, and zero while there is none; for the node itself it is
// when it started.
type Member struct {
	bus.Peer
	Status Status
	Err    error // why there is no link, if one broke or could not be set up; else nil
}

// Linked reports whether messages can be exchanged with the member now.
func (m Member) Linked() bool { return !m.Since.IsZero() }

// Status is what becomes of a member, by what gossip says and by the link with
// it. A member that is linked is alive, even if gossip does not hear it, as in a
// pause of a few seconds. One whose link is down is what gossip says, which
// others may hear; but a node that has lost more links than it still has takes
// nobody's word about those, a second after they broke. One at whose address
// another node answers has failed.
type Status uint8

// The statuses of a member.
const (
	StatusAlive   Status = iota // it answers, here or to others
	StatusLeaving               // it has begun to leave
	StatusLeft                  // it has left
	StatusFailed                // it does not answer, or was replaced at its address
)

// String returns the status in lower case.
func (s Status) String() string {
	switch s {
	case StatusAlive:
		return "alive"
	case StatusLeaving:
		return "leaving"
	case StatusLeft:
		return "left"
	case StatusFailed:
		return "failed"
	}
	return "status " + strconv.Itoa(int(s))
}

// The tags in gossip that belong to this package. A user's tags do not begin
// with an underscore.
const (
	tagBoot     = "_boot"
	tagVersions = "_proto"
)

// maxTagBytes bounds the encoded tags, this package's too: it is memberlist's
// limit for what a node tells of itself.
const maxTagBytes = 512

// gossipName is the name of a node in gossip; it is unique.
func gossipName(name string, boot uint64) string { return fmt.Sprintf("%s-%016x", name, boot) }

// gossipTags are the tags of a node in gossip.
func gossipTags(boot uint64, user map[string]string) map[string]string {
	tags := map[string]string{
		tagBoot:     fmt.Sprintf("%016x", boot),
		tagVersions: fmt.Sprintf("%d-%d", minVersion, maxVersion),
	}
	for k, v := range user {
		tags[k] = v
	}
	return tags
}

// tagBytes is at least the encoded size of tags: a type byte, the map's head, and
// up to three bytes before each string.
func tagBytes(tags map[string]string) int {
	n := 1 + 3
	for k, v := range tags {
		n += stringBytes(k) + stringBytes(v)
	}
	return n
}

func stringBytes(s string) int {
	switch {
	case len(s) < 32:
		return len(s) + 1
	case len(s) < 256:
		return len(s) + 2
	}
	return len(s) + 3
}

// memberOf reads a member of serf's. It fails for a node that is not of runrig.
func memberOf(m serf.Member) (Member, error) {
	boot, err := strconv.ParseUint(m.Tags[tagBoot], 16, 64)
	if err != nil || boot == 0 {
		return Member{}, fmt.Errorf("member %q has no boot id in its tags", m.Name)
	}
	ip, ok := netip.AddrFromSlice(m.Addr)
	if !ok {
		return Member{}, fmt.Errorf("member %q has no address", m.Name)
	}
	who := bus.Peer{
		Name: strings.TrimSuffix(m.Name, fmt.Sprintf("-%016x", boot)),
		Boot: boot,
		Addr: netip.AddrPortFrom(ip.Unmap(), m.Port).String(),
		Tags: map[string]string{},
	}
	for k, v := range m.Tags {
		if !strings.HasPrefix(k, "_") {
			who.Tags[k] = v
		}
	}
	return Member{Peer: who, Status: statusOf(m.Status)}, nil
}

func statusOf(s serf.MemberStatus) Status {
	switch s {
	case serf.StatusAlive:
		return StatusAlive
	case serf.StatusLeaving:
		return StatusLeaving
	case serf.StatusLeft:
		return StatusLeft
	}
	return StatusFailed
}
