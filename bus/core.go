package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runrig-go/runrig/bus/internal/recycle"
)

// core is what a bus and its scopes share.
//
// Lock order: bulks.routing, core.mu, ring.mu, link.mu or Consumer.mu, pending.mu,
// call.mu. Those of scopes, signals, clock, crew, log, events, books and recycle.Memory
// come last: who holds one takes no other. Of links only leaving takes several at once.
type core struct {
	config
	epoch     time.Time
	dir       directory
	stats     counters
	pend      pending   // requests within this node
	calls     sync.Pool // of *call
	mailboxes sync.Pool // of *mailbox
	sparse    sparse
	losses    losses
	events    events
	pool      pool
	coarse    coarse
	crew      crew
	assembly  budget
	kept      atomic.Int64    // bytes of replies for which links had no room
	bodies    *recycle.Memory // apart, as it must not keep the core
	replies   inbound         // where their replies come from
	caller    Caller          // the outbound interceptors; nil: none
	keeps     keeps

	waiting atomic.Int32 // messages in waiting lists
	placing atomic.Int32 // messages taken back, from consumers or links, that are in none yet
	active  atomic.Int64 // consumers that have work
	refuses atomic.Bool  // no call is taken any more
	closed  atomic.Bool  // goodbye has been said on all links
	quits   atomic.Bool  // somebody waits for pokes

	leaving chan struct{} // closed when closing begins
	ended   chan struct{} // closed when goodbye has been said
	done    chan struct{} // closed when all is over
	pokes   chan struct{} // of one: what leaving waits for may have come
	linked  signal        // links, expectations or consumers have changed

	books     sync.Mutex
	forgotten ledger // of addresses that are not known any more

	mu         sync.Mutex
	closing    bool
	self       Peer
	attached   bool
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
	err        error   // of closing; guarded by done

	boot atomic.Uint64            // of this node, once attached
	tags atomic.Pointer[[]string] // names of this node's, in order; nil: not attached
}

func newCore(c config) *core {
	b := &core{
		config: c, epoch: time.Now(), consumers: make([]*Consumer, 1),
		links: map[*link]struct{}{}, late: map[*Consumer]struct{}{}, expected: map[uint64]*expectation{},
		leaving: make(chan struct{}), ended: make(chan struct{}), done: make(chan struct{}), pokes: make(chan struct{}, 1),
	}
	b.events.tell, b.events.log = c.tell, c.log
	b.losses.log, b.losses.events = c.log, &b.events
	b.pool.free.Store(c.memory)
	b.assembly.init(max(64<<20, 4*int64(c.bodyLimit)))
	b.bodies = recycle.New(int(c.memory / 4))
	b.dir.init()
	b.pend.init(b, nil)
	b.replies.consumer = &Consumer{core: b}
	b.chain()
	return b
}

// poke tells the one who leaves to look again.
func (c *core) poke() {
	if !c.quits.Load() {
		return
	}
	select {
	case c.pokes <- struct{}{}:
	default:
	}
}

func (c *core) attach(self Peer, lane Gossiper) (*Links, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing:
		return nil, fmt.Errorf("%w: cannot attach it to a cluster", ErrClosed)
	case c.attached:
		return nil, fmt.Errorf("bus: it is part of a cluster already, as %s", c.self)
	}
	self.Since = time.Now()
	c.self, c.lane, c.attached = self, lane, true
	c.boot.Store(self.Boot)
	tags := tagsOf(self)
	c.tags.Store(&tags)
	return &Links{c}, nil
}

func (c *core) selfName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.self.Name
}

// nameOf returns the name of the node with that boot, as far as it is known.
func (c *core) nameOf(boot uint64) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if boot == c.self.Boot {
		return c.self.Name
	}
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
	e := &expectation{peer, c.clock() + int64(linkPatience)}
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
	if left := min(c.linkComesUntil(), o.due(c)) - c.clock(); left > 0 {
		t := time.NewTimer(time.Duration(left))
		defer t.Stop()
		select {
		case <-changed:
			if c.whyOver(ctx, o) == nil {
				return nil
			}
		case <-t.C:
		case <-ctx.Done():
		case <-c.ended:
		}
	}
	err := c.noConsumer(address)
	if why := c.whyOver(ctx, o); why != nil {
		err = fmt.Errorf("%w: %w", err, why)
	}
	return err
}
