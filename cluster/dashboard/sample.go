package dashboard

import (
	"strings"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// A sample is a snapshot of the cluster in which things are found.
type sample struct {
	*inspect.Cluster
	nodes map[string]*sampled // by boot
}

// sampled is a node of a sample.
type sampled struct {
	*inspect.Node
	index     int              // in the frame's list
	messages  inspect.Messages // without those to addresses of the library's own, as the page's questions are
	addresses map[string]*inspect.Address
	links     map[string]*inspect.Link // by boot
	verticles map[string]*inspect.Verticle
}

func newSample(c *inspect.Cluster) *sample {
	s := &sample{Cluster: c, nodes: make(map[string]*sampled, len(c.Nodes))}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		d := &sampled{
			Node: n, messages: n.Messages, addresses: make(map[string]*inspect.Address, len(n.Addresses)),
			links: make(map[string]*inspect.Link, len(n.Links)), verticles: make(map[string]*inspect.Verticle, len(n.Verticles)),
		}
		for k := range n.Addresses {
			d.addresses[n.Addresses[k].Address] = &n.Addresses[k]
			if strings.HasPrefix(n.Addresses[k].Address, own) {
				d.messages.Sent -= min(d.messages.Sent, n.Addresses[k].Sent)
				d.messages.Handled -= min(d.messages.Handled, n.Addresses[k].Handled)
			}
		}
		for k := range n.Links {
			d.links[n.Links[k].Boot] = &n.Links[k]
		}
		for k := range n.Verticles {
			d.verticles[n.Verticles[k].ID] = &n.Verticles[k]
		}
		s.nodes[n.Self.Boot] = d
	}
	return s
}

// at returns a node of the sample, nil if it has none such, or there is no sample.
func (s *sample) at(boot string) *sampled {
	if s == nil {
		return nil
	}
	return s.nodes[boot]
}

// durations are those of an address, nil if they are not known.
func (d *sampled) durations(address string) *inspect.Durations {
	if d == nil || d.addresses[address] == nil {
		return nil
	}
	return d.addresses[address].Durations
}

// A pace turns what was counted between two moments into figures of a second. It is 0
// where the time is not known.
type pace float64

// paceOf is that between two snapshots of a node, by its own clock.
func paceOf(before, now *sampled) pace {
	if before == nil {
		return 0
	}
	if over := now.Time.Sub(before.Time); over >= 10*time.Millisecond {
		return pace(1 / over.Seconds())
	}
	return 0
}

// of returns how much was counted in a second, nil where that is not known.
func (p pace) of(was, is uint64) *float64 {
	if p == 0 {
		return nil
	}
	rate := float64(is-min(was, is)) * float64(p)
	return &rate
}

// add adds a figure that may be unknown to one that may be.
func add(sum *float64, more *float64) *float64 {
	if more == nil {
		return sum
	}
	if sum == nil {
		sum = new(float64)
	}
	*sum += *more
	return sum
}

// value is 0 for what is not known.
func value[T uint64 | float64](p *T) T {
	if p == nil {
		return 0
	}
	return *p
}

// lost are messages that no handler got, and failed those that one did not handle.
func lost(m *inspect.Messages) uint64 {
	return m.Unknown + m.DeadLetters + m.Skipped + m.Expired + m.Undecodable + m.Dropped + m.CutOff
}

func failed(m *inspect.Messages) uint64 { return m.Failed + m.FailedRequests + m.Panics }
