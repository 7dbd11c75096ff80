package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
)

// patience is how long a node has to answer.
const patience = time.Second

// defaultAddresses is how many addresses of each node a snapshot of the cluster has by
// default.
const defaultAddresses = 100

// Cluster asks all nodes, for a second at most, or until ctx ends, and returns what they
// tell. Of each it takes what the query says, but none of its members, and 100 addresses
// by default. It is no error that nodes do not answer: they are Missing. The error is
// about the query.
func (i *Inspector) Cluster(ctx context.Context, q Query) (Cluster, error) {
	if err := q.check(); err != nil {
		return Cluster{}, err
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := Cluster{Version: Version, Time: began, Asker: i.node.Self().String()}
	c.Members, c.LeftOut.Members = cut(i.members(), limit(q.Members, 1000))
	q.Members = -1
	if q.Addresses == 0 {
		q.Addresses = defaultAddresses
	}
	replies, err := i.eb.RequestAll(ctx, address, q, bus.Reserved())
	failed := c.take(replies)
	if !c.has(bootText(i.node.Self().Boot)) { // it closes, and its consumers are closed
		own, _ := i.answer(ctx, q)
		c.Nodes = append(c.Nodes, own)
	}
	c.Missing = i.missing(&c, failed, err)
	slices.SortFunc(c.Nodes, func(a, b Node) int { return strings.Compare(a.Self.ID, b.Self.ID) })
	c.Took = time.Since(began).Seconds()
	return c, nil
}

// take adds what nodes have answered, and returns by name whose answers are of no use.
func (c *Cluster) take(replies []*bus.Message) (failed map[string]error) {
	failed = map[string]error{}
	for _, m := range replies {
		var n Node
		switch err := m.Decode(&n); {
		case err != nil:
			failed[m.From()] = fmt.Errorf("its answer cannot be read: %w", err)
		case n.Version != Version:
			failed[m.From()] = fmt.Errorf("it answers with version %d of the snapshot, this node reads version %d: their releases are too far apart", n.Version, Version)
		default:
			c.Nodes = append(c.Nodes, n)
		}
	}
	return failed
}

func (c *Cluster) has(boot string) bool {
	return slices.ContainsFunc(c.Nodes, func(n Node) bool { return n.Self.Boot == boot })
}

// missing returns the nodes that are alive and have not answered.
func (i *Inspector) missing(c *Cluster, failed map[string]error, err error) (all []Missing) {
	for _, m := range i.node.Members() {
		if c.has(bootText(m.Boot)) || m.Status != cluster.StatusAlive && m.Status != cluster.StatusLeaving {
			continue
		}
		all = append(all, Missing{
			ID: m.String(), Name: m.Name, Boot: bootText(m.Boot), Address: m.Addr, Linked: m.Linked(), Reason: reason(m, failed[m.Name], err),
		})
	}
	return all
}

// reason says why a member is missing. err joins what went wrong with those that were
// asked.
func reason(m cluster.Member, failed, err error) string {
	switch {
	case !m.Linked() && m.Err != nil:
		return "not linked: " + text(m.Err)
	case !m.Linked():
		return "not linked"
	case m.Status == cluster.StatusLeaving:
		return "it is leaving"
	case failed != nil:
		return text(failed)
	}
	for _, e := range parts(err) {
		if strings.HasPrefix(e.Error(), "consumer on "+m.Name+":") {
			if errors.Is(e, context.DeadlineExceeded) {
				return "no answer within " + patience.String()
			}
			return text(e)
		}
	}
	return "it does not answer: its program has no inspector (see package inspect), or it has just come"
}

// parts are the errors that one joins.
func parts(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// Ping sends packets (UDP) to all other members that live or have failed, three to each
// that does not answer, for a second at most: an answer says that gossip passes there,
// as Linked does of messages.
func (i *Inspector) Ping() []Ping {
	self := i.node.Self()
	members := slices.DeleteFunc(i.node.Members(), func(m cluster.Member) bool {
		return m.Boot == self.Boot || m.Status == cluster.StatusLeft
	})
	all := make([]Ping, len(members))
	limit := make(chan struct{}, 64)
	for k, m := range members {
		limit <- struct{}{}
		go func() { // until it has an answer, or three packets had none
			defer func() { <-limit }()
			all[k] = i.ping(m)
		}()
	}
	for range cap(limit) {
		limit <- struct{}{}
	}
	return all
}

// pings is how many packets are sent to a member.
const pings = 3

func (i *Inspector) ping(m cluster.Member) Ping {
	p := Ping{ID: m.String(), Name: m.Name, Address: m.Addr, Status: m.Status.String(), Linked: m.Linked()}
	for range pings {
		took, err := i.node.Ping(m)
		if err != nil {
			p.Error = text(err)
			continue
		}
		if s := took.Seconds(); p.Packet == nil || s < *p.Packet {
			p.Packet = &s
		}
	}
	if p.Packet != nil {
		p.Error = ""
	}
	return p
}
