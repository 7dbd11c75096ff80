package ecs

import (
	"net/netip"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// interfaceType is the one type of attachment that is a task's network
// interface. Others, such as volumes and Service Connect, come before or after
// it.
const interfaceType = "ElasticNetworkInterface"

// sighting is what a description says about one task. Any pointer in it may be
// nil.
type sighting struct {
	rank     int
	started  time.Time
	ip       netip.Addr
	instance string // its container instance, when that has the address
	port     int
	reason   string // why it is left out
	refused  error  // why it cannot be reached
	sure     bool   // the description says so; else it was concluded from what it lacks or somebody can change
	chosen   bool   // left out since Config says so
}

// look decides whether and where a task can be reached.
func (p *Provider) look(t types.Task) sighting {
	last := strings.ToUpper(text(t.LastStatus))
	s := sighting{rank: rank(last), port: p.cfg.Port}
	if t.StartedAt != nil {
		s.started = *t.StartedAt
	}
	if strings.EqualFold(text(t.DesiredStatus), "STOPPED") || leaving(last) {
		s.reason = reasonLeaving
		return s
	}
	if s.reason = p.choose(t); s.reason != "" {
		s.chosen = true
		return s
	}
	ip, own := p.rule.interfaceAddress(t)
	switch {
	case ip.IsValid():
		s.ip, s.sure = ip, true
	case own || text(t.ContainerInstanceArn) == "":
		s.reason = reasonNoAddress
	default:
		p.lookAtHost(t, &s)
	}
	return s
}

// rank orders states by how likely the task is an established member. One that
// is pending is a candidate too: when all start together there is nobody else.
func rank(last string) int {
	switch last {
	case "RUNNING":
		return 0
	case "ACTIVATING":
		return 1
	}
	return 2
}

func leaving(last string) bool {
	switch last {
	case "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED", "DELETED":
		return true
	}
	return false
}

// interfaceAddress returns the address of the task's own network interface,
// IPv4 before IPv6. own says that the task has such an interface, though maybe
// no address as yet.
func (r addressRule) interfaceAddress(t types.Task) (ip netip.Addr, own bool) {
	var v4, v6 []string
	for _, a := range t.Attachments {
		if text(a.Type) != interfaceType || gone(text(a.Status)) {
			continue
		}
		own = true
		for _, d := range a.Details {
			switch strings.ToLower(text(d.Name)) {
			case "privateipv4address":
				v4 = append(v4, text(d.Value))
			case "privateipv6address", "ipv6address":
				v6 = append(v6, text(d.Value))
			}
		}
	}
	for _, c := range t.Containers { // repeats the same for each container, and is the source for IPv6
		for _, n := range c.NetworkInterfaces {
			own = true
			v4, v6 = append(v4, text(n.PrivateIpv4Address)), append(v6, text(n.Ipv6Address))
		}
	}
	ip, _ = r.first(append(v4, v6...)...)
	return ip, own
}

// text is the text a pointer of the SDK stands for: none is "".
func text(s *string) string { return aws.ToString(s) }

func gone(attachmentStatus string) bool {
	switch strings.ToUpper(attachmentStatus) {
	case "DETACHED", "DELETED", "FAILED":
		return true
	}
	return false
}
