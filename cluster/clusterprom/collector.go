package clusterprom

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/inspect"
)

// Option configures a collector.
type Option interface{ apply(*config) }

type config struct {
	namespace string
	addresses int
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// WithNamespace sets what names begin with; the default is "runrig". The board and the
// alerts know only that one.
func WithNamespace(name string) Option { return optionFunc(func(c *config) { c.namespace = name }) }

// WithMaxAddresses sets how many addresses have series of their own; the default is
// 200, the most 10,000. With 0 all are "other". A negative number panics.
func WithMaxAddresses(n int) Option {
	if n < 0 {
		panic(fmt.Sprintf("clusterprom: WithMaxAddresses(%d): it must not be negative", n))
	}
	return optionFunc(func(c *config) { c.addresses = min(n, 10_000) })
}

// fresh is how long a snapshot is used.
const fresh = time.Second

// A Collector is the figures of a node, as a prometheus.Collector. It may be collected
// from several goroutines, also when the node is closed.
type Collector struct {
	config
	of    *inspect.Inspector
	descs map[string]*prometheus.Desc

	mu    sync.Mutex
	at    time.Time
	node  inspect.Node
	known shelf
}

// New returns the collector of a node.
func New(n *cluster.Node, opts ...Option) *Collector {
	c := &Collector{config: config{namespace: "runrig", addresses: 200}, of: inspect.Of(n), descs: map[string]*prometheus.Desc{}}
	for _, o := range opts {
		o.apply(&c.config)
	}
	c.known = shelf{most: c.addresses, listed: map[string]bool{}}
	for _, m := range metrics {
		name := m.name
		if c.namespace != "" {
			name = c.namespace + "_" + name
		}
		c.descs[m.name] = prometheus.NewDesc(name, m.help, m.labels, nil)
	}
	return c
}

// Describe is for prometheus.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect is for prometheus.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	node, addresses := c.look()
	s := sample{c, to, &node}
	s.self()
	s.members()
	s.links()
	s.network()
	s.verticles()
	for i := range addresses {
		s.address(&addresses[i])
	}
}

// look returns a snapshot, and its addresses as they are shown.
func (c *Collector) look() (inspect.Node, []inspect.Address) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) >= fresh {
		c.node, _ = c.of.Node(inspect.Query{Addresses: 10_000, Verticles: 1000, Members: 10_000, Links: 10_000}) // the query is in order
		c.at = time.Now()
		c.node.Addresses, c.node.LeftOut.Addresses = c.known.sort(&c.node)
	}
	return c.node, c.node.Addresses
}

// A sample writes one snapshot.
type sample struct {
	c    *Collector
	to   chan<- prometheus.Metric
	node *inspect.Node
}

func (s sample) gauge(name string, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(s.c.descs[name], prometheus.GaugeValue, v, texts(labels)...)
}

func (s sample) count(name string, n uint64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(s.c.descs[name], prometheus.CounterValue, float64(n), texts(labels)...)
}

// texts makes labels of what others have named: Prometheus takes UTF-8 only.
func texts(labels []string) []string {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	return labels
}

func (s sample) self() {
	self, p := &s.node.Self, &s.node.Process
	s.gauge("build_info", 1, p.Library, p.Revision, p.Go)
	s.gauge("node_info", 1, self.ID, self.Cluster, fmt.Sprint(self.Secured))
	for _, state := range states {
		s.gauge("node_state", truth(state == self.State), state)
	}
	s.gauge("node_serving", truth(self.Serving))
	s.gauge("node_trouble", float64(len(self.Trouble)))
	s.gauge("node_start_time_seconds", float64(self.Started.UnixNano())/1e9)
	s.gauge("addresses_left_out", float64(s.node.LeftOut.Addresses))
}

var (
	states   = []string{"joining", "alone", "ready", "degraded", "leaving", "left", "failed"}
	statuses = []string{"alive", "leaving", "left", "failed"}
)

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func (s sample) members() {
	by := map[string]int{}
	for _, m := range s.node.Members {
		by[m.Status]++
		if m.Status == "alive" && m.ID != s.node.Self.ID {
			s.gauge("link_up", truth(m.Linked), m.ID)
		}
	}
	for _, status := range statuses {
		s.gauge("cluster_members", float64(by[status]), status)
	}
	for event, n := range s.node.Changes {
		s.count("membership_events_total", n, event)
	}
}

// links tells what a node knows of its links; a figure that it does not have is absent.
func (s sample) links() {
	for i := range s.node.Links {
		l := &s.node.Links[i]
		for direction, n := range map[string]*uint64{"in": l.BytesIn, "out": l.BytesOut} {
			if n != nil {
				s.count("link_bytes_total", *n, l.ID, direction)
			}
		}
		if l.Stalls != nil {
			s.count("link_stalls_total", *l.Stalls, l.ID)
		}
		for name, n := range map[string]*uint64{"link_queue_bytes": l.Queued, "link_requests": l.Requests, "link_unsettled": l.Unsettled} {
			if n != nil {
				s.gauge(name, float64(*n), l.ID)
			}
		}
		if l.RoundTrip != nil {
			s.gauge("link_rtt_seconds", *l.RoundTrip, l.ID)
		}
	}
}

func (s sample) network() {
	n, g := &s.node.Network, &s.node.Gossip
	for _, reason := range []string{"secret", "cluster", "version"} {
		s.count("auth_failures_total", n.Refused[reason], "self", reason)
		s.count("auth_failures_total", n.RefusedBy[reason], "peer", reason)
	}
	for _, reason := range []string{"silent", "ended", "timed_out", "garbage", "crowded", "crowded_gossip", "crowded_peers"} {
		s.count("connections_rejected_total", n.Strangers[reason], reason)
	}
	s.count("dial_errors_total", n.DialErrors)
	s.count("discovery_errors_total", n.DiscoveryErrors)
	s.count("accept_errors_total", n.AcceptErrors)
	s.count("packets_rejected_total", n.BadPackets)
	s.count("packets_missed_total", n.Packetless)
	s.count("gossip_behind_total", n.GossipBehind)
	s.count("gossip_messages_total", g.Sent, "sent")
	s.count("gossip_messages_total", g.Received, "received")
	s.count("gossip_messages_total", g.Duplicates, "duplicate")
	s.count("gossip_messages_total", g.Old, "old")
	s.count("gossip_messages_total", g.Malformed, "malformed")
	s.gauge("gossip_messages_missed", float64(g.Missed))
}

// maxVerticles is how many names of verticles have series of their own.
const maxVerticles = 200

func (s sample) verticles() {
	type figures struct {
		restarts uint64
		busy     float64
	}
	by, names := map[string]int{}, map[string]figures{}
	for _, v := range s.node.Verticles {
		by[v.State]++
		name := v.Name
		if _, known := names[name]; !known && len(names) >= maxVerticles {
			name = other
		}
		f := names[name]
		names[name] = figures{f.restarts + uint64(v.Restarts), f.busy + v.Busy}
	}
	for _, state := range []string{"starting", "running", "restarting", "stopping", "failed"} {
		s.gauge("verticles", float64(by[state]), state)
	}
	for name, f := range names {
		s.gauge("verticle_restarts", float64(f.restarts), name)
		s.gauge("verticle_busy_seconds", f.busy, name)
	}
}

func (s sample) address(a *inspect.Address) {
	name := a.Address
	s.gauge("eventbus_consumers", float64(a.Consumers), name)
	s.gauge("eventbus_handlers", float64(a.Local), name)
	s.gauge("eventbus_waiting", float64(a.Waiting), name)
	s.gauge("eventbus_unsettled", float64(a.Unsettled), name)
	s.gauge("eventbus_pending", float64(a.Queued), name)
	s.gauge("eventbus_running", float64(a.Running), name)
	s.count("eventbus_messages_sent_total", a.Sent, name)
	s.count("eventbus_messages_settled_total", a.Settled, name)
	s.count("eventbus_messages_delivered_total", a.Handled, name)
	s.count("eventbus_messages_rerouted_total", a.Rerouted, name)
	s.count("eventbus_messages_failed_total", a.Failed, name, "error")
	s.count("eventbus_messages_failed_total", a.Panics, name, "panic")
	for reason, n := range map[string]uint64{
		"expired": a.Expired, "canceled": a.Canceled, "undecodable": a.Undecodable, "dropped": a.Dropped,
		"cut_off": a.CutOff, "skipped": a.Skipped, "dead_letter": a.DeadLetters, "unknown": a.Unknown,
	} {
		s.count("eventbus_messages_discarded_total", n, name, reason)
	}
	if name == other {
		s.count("eventbus_late_replies_total", s.node.Messages.LateReplies)
	}
}
