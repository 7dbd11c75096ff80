package inspect

import (
	"context"
	"fmt"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/verticle"
)

// address is where the inspectors of all nodes are asked.
const address = "_runrig.inspect"

// atOnce is how many of the others' questions an inspector answers at once.
const atOnce = 4

// An Inspector makes the snapshots of a node and, asking the others, of its cluster.
// Its methods may be called concurrently, also while the node closes and when it is
// closed.
type Inspector struct {
	node *cluster.Node
	eb   *bus.EventBus
	log  *eventLog
	book addressBook
}

type inspectorKey struct{}

// Of returns the inspector of a node, of which there is one: it is made at the first
// call, and from then on answers those of the other nodes, until the node closes. It
// may be called while the node joins.
func Of(n *cluster.Node) *Inspector {
	eb := n.EventBus()
	return eb.Keep(inspectorKey{}, func() any {
		i := &Inspector{node: n, eb: eb, log: newEventLog(n.Self().String())}
		go i.log.follow(n.Events(context.Background())) // until the node is down
		// A bus that is closing takes no consumer: then the node leaves, and others
		// have it as missing.
		_, _ = eb.Consume(address, bus.Respond(i.answer), bus.Reserved(), bus.WithConcurrency(atOnce))
		return i
	}).(*Inspector)
}

// answer answers another node's inspector, which knows the members itself.
func (i *Inspector) answer(_ context.Context, q Query) (Node, error) {
	q.Members = -1
	return i.Node(q)
}

// Node returns the snapshot of the node. The error is about the query.
func (i *Inspector) Node(q Query) (Node, error) {
	if err := q.check(); err != nil {
		return Node{}, err
	}
	n := Node{Version: Version, Time: time.Now(), Self: i.self(), Process: process()}
	if q.Members >= 0 {
		n.Members, n.LeftOut.Members = cut(i.members(), limit(q.Members, 1000))
	}
	n.Links, n.LeftOut.Links = cut(i.links(), limit(q.Links, 1000))
	n.Verticles, n.LeftOut.Verticles, n.LeftOut.Consumers = i.verticles(limit(q.Verticles, 200))
	i.book.read(i.eb, q).tell(&n)
	stats := i.eb.Stats()
	n.Messages, n.Gossip, n.Network = messagesOf(&stats), Gossip(stats.Gossip), networkOf(i.node.Stats())
	n.Routes, n.Changes = routesOf(i.eb.Routes()), i.log.counted()
	return n, nil
}

func (i *Inspector) self() Self {
	self, info := i.node.Self(), i.node.Info()
	return Self{
		ID: self.String(), Name: self.Name, Boot: bootText(self.Boot), Address: self.Addr, Tags: self.Tags, Started: self.Since,
		Cluster: info.Cluster, Secured: info.Secured, Bound: info.Bound, MinVersion: info.MinVersion, MaxVersion: info.MaxVersion,
		State: i.node.State().String(), Serving: i.node.Serving(), Trouble: lines(i.node.Trouble()),
	}
}

func bootText(boot uint64) string { return fmt.Sprintf("%016x", boot) }

func (i *Inspector) members() (all []Member) {
	for _, m := range i.node.Members() {
		all = append(all, Member{
			ID: m.String(), Name: m.Name, Boot: bootText(m.Boot), Address: m.Addr, Tags: m.Tags,
			Status: m.Status.String(), Linked: m.Linked(), Since: m.Since, Error: text(m.Err), Failed: i.log.failedAt(m.Boot),
		})
	}
	return all
}

func (i *Inspector) links() []Link {
	all := []Link{}
	now := time.Now()
	for _, l := range i.eb.Links() {
		link := Link{
			ID: l.Peer.String(), Name: l.Peer.Name, Boot: bootText(l.Peer.Boot), Address: l.Peer.Addr, Since: l.Peer.Since,
			BytesIn: &l.BytesIn, BytesOut: &l.BytesOut, Queued: count(l.Queued), Sent: &l.Sent, Unsettled: count(l.Unsettled),
			Believed: routesOf(l.Routes), Coming: count(l.Coming), Requests: count(l.Requests), Stalls: &l.Stalls,
		}
		if silent := now.Sub(l.LastRead).Seconds(); silent >= 0 {
			link.Silent = &silent
		}
		if trip := l.RoundTrip.Seconds(); trip > 0 {
			link.RoundTrip = &trip
		}
		all = append(all, link)
	}
	return all
}

func count(n int) *uint64 {
	c := uint64(max(0, n))
	return &c
}

// Bounds of what is told of one verticle.
const (
	maxConsumers = 64
	maxText      = 4 << 10 // bytes of an error
	maxStack     = 8 << 10
)

func (i *Inspector) verticles(most int) (all []Verticle, left, consumers int) {
	all = []Verticle{}
	infos, left := cut(verticle.Inspect(i.eb), most)
	for _, d := range infos {
		v := Verticle{
			ID: d.ID, Name: d.Name, Parent: d.Parent, State: string(d.State), Deployed: d.Deployed, Since: d.Since,
			Restarts: d.Restarts, Failure: text(d.Failure), Failed: d.FailedAt, Stack: shorten(d.Stack, maxStack), Busy: d.Busy.Seconds(),
		}
		var over int
		v.Consumers, over = cut(d.Consumers, maxConsumers)
		consumers += over
		all = append(all, v)
	}
	return all, left, consumers
}
