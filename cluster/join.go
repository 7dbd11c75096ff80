package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/runrig-go/runrig/bus"
)

const (
	// firstPatience is how long Join waits for discovery's first answer and until
	// one of those it told of answers.
	firstPatience = 15 * time.Second

	// linkPatience is how long Join waits for one more link with the members found,
	// and linksMost for all of them.
	linkPatience = 2 * time.Second
	linksMost    = 15 * time.Second
)

var errLate = fmt.Errorf("nobody answered within %v", firstPatience)

// Join makes the bus part of a cluster and starts a node that keeps it so until
// [Node.Close]. A bus can join once.
//
// Join asks discovery once, tries who is found until one answers, and then
// waits until the members are linked and have told their consumers. It waits as
// long as links come up, each within two seconds of the one before; the members
// that are missing then are logged, and linked later. Where all is well it takes as
// long as discovery and some milliseconds. It takes longer, but not more than 40 s:
//
//   - 10 s at most for a Config.Discovery that is an Identifier, to tell this node's place
//   - 10 s at most for discovery's answer, and 3 s for its names to be resolved
//   - 0.25 s for each eight of its addresses at which nobody so much as refuses, until one
//     answers, and from the 96th on 3 s for each 96; then 0.25 s for others to answer
//   - 15 s at most for the last two together; what is not done by then goes on in the background
//   - 2 s at most for each link, and 15 s for all
//
// If discovery fails or nobody answers the node runs all the same, says so in
// the log once, and tries on: [Node.State] and [Node.Trouble] tell. ctx bounds the call, not the
// life of the node; if it ends first, Join returns the node as far as it has
// come. But without this node's place, which only Config.Discovery knows where
// Name or Advertise are empty, there is none: that is an error. An error is
// about the Config, whose field it names, or about the bus; no node is left then.
func Join(ctx context.Context, eb *bus.EventBus, c Config) (*Node, error) {
	if eb == nil {
		return nil, errors.New("cluster: Join of a nil bus")
	}
	s, err := c.settle(ctx)
	if err != nil {
		return nil, err
	}
	l, udp, err := s.listen(ctx)
	if err != nil {
		return nil, err
	}
	n, err := newNode(eb, s, l, udp)
	if err != nil {
		_ = l.Close()
		_ = udp.Close()
		return nil, err
	}
	n.awaitFirst(ctx)
	return n, nil
}

// newNode starts a node on listeners that are open. If it fails they are still
// to be closed.
func newNode(eb *bus.EventBus, s *settings, l net.Listener, udp PacketConn) (*Node, error) {
	p := newPort(s, l, udp)
	p.bound = inZone(p.bound, s.binds[0].Addr().Zone()) // of which the listener does not tell
	advertise, err := s.advertised(p.bound)
	if err != nil {
		return nil, err
	}
	boot, err := newBoot()
	if err != nil {
		return nil, err
	}
	self := bus.Peer{Name: s.name, Boot: boot, Addr: advertise.String(), Tags: s.tags, Since: time.Now()}
	n := &Node{
		eb:         eb,
		log:        s.log,
		digest:     newDigest(s.log),
		provider:   s.provider,
		self:       Member{Peer: self},
		port:       p,
		lane:       newLane(s, boot),
		roster:     newRoster(),
		payloads:   make(chan []byte, laneQueue),
		firstRound: make(chan struct{}),
		done:       make(chan struct{}),
		wakeSeek:   make(chan struct{}, 1),
		wakeAsk:    make(chan struct{}, 1),
		troubles:   map[string]error{},
	}
	n.counts = p.counts
	n.hub = newHub(n.counts)
	if n.attachment, err = eb.Attach(self, n.lane); err != nil {
		return nil, fmt.Errorf("cluster: join: %w", err)
	}
	n.wire(s)
	return n, n.start(s, &transport{port: p, advertise: advertise, roster: n.roster})
}

// wire connects the parts of the node.
func (n *Node) wire(s *settings) {
	n.peers = &peers{
		own:        greeting(s, n.self.Peer),
		attachment: n.attachment,
		port:       n.port,
		counts:     n.counts,
		log:        s.log,
		news:       n,
		refused:    n.refused,
		surplus:    func(c caller) { n.port.stranger(c, errSurplus) },
	}
	n.peers.start()
	n.port.own = n.peers.own
	n.port.hello = n.peers.greet
	n.port.strangers.known = n.peers.knows
	n.port.refused = n.refused
	n.port.refuting = n.refuting
}

// start starts gossip and the node's goroutines. leave stops and awaits them,
// but for watch, which ends with the node.
func (n *Node) start(s *settings, t *transport) error {
	events := make(chan serf.Event, 4096)
	g, err := startGossip(s, t, n.self.Boot, events)
	if err != nil {
		n.peers.close()
		return err
	}
	n.gossip = g
	n.lane.serf.Store(g)
	n.openAdmin(s.admin)
	n.port.serve()
	var ctx context.Context
	ctx, n.stopSeek = context.WithCancel(context.Background())
	n.wg.Go(func() { drain(events, g.ShutdownCh(), n) })
	n.wg.Go(func() { n.deliver(ctx) })
	n.startDiscovery(ctx, s)
	go n.watch()
	s.log.Info("node is up", "node", n.self.String(), "cluster", s.cluster, "bound", n.port.bound.String(),
		"address", n.self.Addr, "secured", s.tls != nil)
	if s.tls == nil && !n.port.bound.Addr().IsLoopback() {
		s.log.Warn("node has no secret: whoever reaches its port can do anything to the cluster", "node", n.self.String())
	}
	return nil
}

func (n *Node) seeker(s *settings) *seeker {
	return &seeker{
		provider: s.provider,
		gossip:   n.gossip,
		port:     n.port,
		counts:   n.counts,
		own:      n.peers.own,
		log:      s.log,
		roster:   n.roster,
		names:    names{lookup: lookup},
		wake:     n.wakeSeek,
		changed:  n.wakeAsk,
		news:     n,
	}
}

// awaitFirst waits for the first attempt to reach others, and then for links.
func (n *Node) awaitFirst(ctx context.Context) {
	first, cancel := context.WithTimeoutCause(ctx, firstPatience, errLate)
	defer cancel()
	select {
	case <-n.firstRound:
		n.awaitLinks(ctx)
	case <-n.done:
	case <-first.Done():
		n.log.Warn("join is not finished; going on in the background", "err", context.Cause(first))
	}
}

// newBoot draws a boot id; it is never 0.
func newBoot() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("cluster: boot id: %w", err)
	}
	return max(binary.BigEndian.Uint64(b[:]), 1), nil
}
