package cluster

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hashicorp/serf/serf"

	"github.com/runrig-go/runrig/bus"
)

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
