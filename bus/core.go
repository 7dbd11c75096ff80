package bus

import (
	"fmt"
	"sync"
	"time"
)

// core is what a bus and its scopes share: the services, and the registry of what there
// is.
//
// Lock order: bulkEnds.routing, core.mu, ring.mu, writer.mu or Consumer.mu, pending.mu,
// call.mu. The locks of the services, of turns and of signals come last: no other is taken
// while one of them is held. Only leaving holds the locks of several links at once.
type core struct {
	*services
	own     ownNode
	drain   time.Duration // how long leaving may take
	inbound []func(Handler) Handler
	keeps   keeps

	rings   rings
	members members
	gossip  gossip
	sender  sender
	broken  brokenLinks
	pulse   pulse

	mu        sync.Mutex
	consumers []*Consumer // by number, from 1
	free      []uint32
	late      map[*Consumer]struct{} // closed, but with something under way: see Consumer.overLocked
}

func newCore(c config) *core {
	b := &core{
		services: newServices(c), drain: c.drain, inbound: c.inbound,
		consumers: make([]*Consumer, 1), late: map[*Consumer]struct{}{},
	}
	b.rings.init(b.services, &b.mu, &b.members)
	b.members.init(b.services, &b.mu)
	b.pulse.init(&b.clock)
	b.gossip.init(b.services, &b.rings, &b.members)
	b.sender = sender{b.services, &b.rings, &b.members, &b.gossip}
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
	c.rings.newEpochs()
	c.gossip.attach(lane)
	return &Attachment{c}, nil
}
