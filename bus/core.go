package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// core is what a bus and its scopes share: the services, and the registry of what there
// is.
//
// Lock order: link.routing, core.mu, ring.mu, link.mu or Consumer.mu, pending.mu,
// call.mu. Those of the services, of turns and of signals come last: whoever holds one
// takes no other. Of links only leaving takes several at once.
type core struct {
	*services
	own     ownNode
	drain   time.Duration // how long leaving may take
	inbound []func(Handler) Handler
	keeps   keeps

	dir    directory
	linked signal // links, expectations or consumers have changed

	mu         sync.Mutex
	lane       Gossiper
	consumers  []*Consumer // by number, from 1
	free       []uint32
	steps      uint64                 // in which routes came or went
	late       map[*Consumer]struct{} // closed, but with something under way: see Consumer.overLocked
	links      map[*link]struct{}
	expected   map[uint64]*expectation
	gossip     gossip
	broke      []error // of links, while this node leaves
	peerWorked int64   // when a peer that leaves too had work
}

func newCore(c config) *core {
	b := &core{
		services: newServices(c), drain: c.drain, inbound: c.inbound, consumers: make([]*Consumer, 1),
		links: map[*link]struct{}{}, late: map[*Consumer]struct{}{}, expected: map[uint64]*expectation{},
	}
	b.dir.init()
	b.own.init(b.services, b)
	b.own.out = newOutbound(c.outbound, b.perform)
	return b
}

func (c *core) attach(self Peer, lane Gossiper) (*Attachment, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch old := c.self.node.Load(); {
	case c.leave.at(busLeaves):
		return nil, fmt.Errorf("%w: cannot attach it to a cluster", ErrClosed)
	case old != nil:
		return nil, fmt.Errorf("bus: it is part of a cluster already, as %s", old)
	}
	self.Since = time.Now()
	c.self.set(self)
	c.lane = lane
	return &Attachment{c}, nil
}

// nameOf returns the name of the node with that boot, as far as it is known.
func (c *core) nameOf(boot uint64) string {
	if boot == c.self.boot.Load() {
		return c.self.name()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.links {
		if l.peer.Boot == boot {
			return l.peer.Name
		}
	}
	if e := c.expected[boot]; e != nil {
		return e.peer.Name
	}
	return fmt.Sprintf("%016x", boot)
}

func (c *core) peers() []Peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ps []Peer
	for l := range c.links {
		if l.isUp() {
			ps = append(ps, l.peer)
		}
	}
	slices.SortFunc(ps, func(a, b Peer) int { return strings.Compare(a.String(), b.String()) })
	return ps
}

// expectation is a member that is alive.
type expectation struct {
	peer  Peer
	until int64 // how long messages wait for its first link
}

// linkPatience is how long a message without a consumer waits for the first
// link to a member.
const linkPatience = 2 * time.Second

func (c *core) expect(peer Peer) (forget func()) {
	e := &expectation{peer, c.clock.now() + int64(linkPatience)}
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.links {
		if l.peer.Boot == peer.Boot && l.isUp() {
			e.until = 0
		}
	}
	c.expected[peer.Boot] = e
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.expected[peer.Boot] == e {
			delete(c.expected, peer.Boot)
			c.linked.fire()
		}
	}
}

// unlinked names the members that are alive but not linked.
func (c *core) unlinked() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	linked := map[uint64]bool{}
	for l := range c.links {
		linked[l.peer.Boot] = true
	}
	var names []string
	for boot, e := range c.expected {
		if !linked[boot] {
			names = append(names, e.peer.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// linkComesUntil returns until when the first link to a member may come up.
func (c *core) linkComesUntil() (until int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.expected {
		until = max(until, e.until)
	}
	return until
}

// awaitLink waits, for a message without a consumer, while a member's first
// link is coming up. It returns nil when the sender is to look again.
func (c *core) awaitLink(ctx context.Context, o *outgoing, address string) error {
	changed := c.linked.wait()
	if r := c.dir.get(address); r != nil && r.routes.Load().len() > 0 {
		return nil
	}
	if left := min(c.linkComesUntil(), o.due(c.services)) - c.clock.now(); left > 0 {
		t := time.NewTimer(time.Duration(left))
		defer t.Stop()
		select {
		case <-changed:
			if c.whyOver(ctx, o) == nil {
				return nil
			}
		case <-t.C:
		case <-ctx.Done():
		case <-c.leave.gone:
		}
	}
	err := c.noConsumer(address)
	if why := c.whyOver(ctx, o); why != nil {
		err = fmt.Errorf("%w: %w", err, why)
	}
	return err
}
