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
	final    bool   // and always will be
	refused  error  // why it cannot be reached
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
	if s.reason, s.final = p.choose(t); s.reason != "" {
		return s
	}
	ip, own := p.rule.interfaceAddress(t)
	switch {
	case ip.IsValid():
		s.ip = ip
	case own || text(t.ContainerInstanceArn) == "":
		s.reason = reasonNoAddress
	default:
		p.lookAtHost(t, &s)
	}
	return s
}

// lookAtHost is for tasks in bridge or host mode, which are reached at their
// host's address.
func (p *Provider) lookAtHost(t types.Task, s *sighting) {
	s.instance = text(t.ContainerInstanceArn)
	if p.task.NetworkMode == "host" {
		return // a task of the same kind, and in host mode a port needs no mapping
	}
	bindings := bindingsOf(t, p.task.Container)
	if len(bindings) == 0 && s.rank > 0 {
		s.instance, s.reason = "", reasonNoAddress // the mappings appear when the containers run
		return
	}
	if s.port, s.refused = hostPort(bindings, p.cfg.Port); s.refused != nil {
		s.instance = ""
	}
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

// bindingsOf returns the port mappings of the container with this name, as that
// of the own one is usually the same in every task of a service; without such a
// container or mappings of it, all.
func bindingsOf(t types.Task, container string) []binding {
	var all, named []binding
	for _, c := range t.Containers {
		for _, n := range c.NetworkBindings {
			b := binding{hostIP: text(n.BindIP), protocol: string(n.Protocol)}
			if n.ContainerPort != nil && n.HostPort != nil {
				b.container, b.host = int(*n.ContainerPort), int(*n.HostPort)
			}
			all = append(all, b)
			if container != "" && text(c.Name) == container {
				named = append(named, b)
			}
		}
	}
	if len(named) > 0 {
		return named
	}
	return all
}
