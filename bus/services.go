package bus

import (
	"log/slog"
	"sync/atomic"

	"github.com/runrig-go/runrig/bus/internal/recycle"
)

// services is what all parts of a bus share that holds none of them: nothing in it
// points to a route, a ring, a consumer or a link. Its locks come last in the order of locks:
// no other is taken while one of them is held.
type services struct {
	self  self
	leave departure
	work  work
	clock clock
	crew  crew

	log      *slog.Logger
	warnings warnings
	stats    counters
	books    books
	losses   losses
	events   events

	codecs    codecs
	bodyLimit int

	memory    int64 // which windows may take, and replies that are kept
	pool      pool
	budget    budget
	keptBytes atomic.Int64    // of replies for which links have no room
	bodies    *recycle.Memory // apart, as it must not keep the services
	mailboxes mailboxPool
	calls     callPool
}

func newServices(c config) *services {
	s := &services{log: c.log, warnings: warnings{log: c.log}, codecs: c.codecs, bodyLimit: c.bodyLimit, memory: c.memory}
	s.codecs.types = newProtoTypes(len(c.codecs.own))
	s.leave.init()
	s.clock.init(&s.work)
	s.clock.onTick(s.crew.ticked)
	s.crew.clock, s.crew.leave = &s.clock, &s.leave
	s.events.tell, s.events.log = c.tell, c.log
	s.losses.log, s.losses.events = c.log, &s.events
	s.pool.free.Store(c.memory)
	s.budget.init(max(64<<20, 4*int64(c.bodyLimit)))
	s.bodies = recycle.New(int(c.memory / 4))
	return s
}

// self is this node in its cluster: nothing until the bus is attached to one.
type self struct {
	node atomic.Pointer[Peer]
	boot atomic.Uint64
	tags atomic.Pointer[[]string] // their names, in order
}

func (s *self) set(p Peer) {
	s.boot.Store(p.Boot)
	tags := tagsOf(p)
	s.tags.Store(&tags)
	s.node.Store(&p)
}

// name returns the node's name, "" if the bus is not attached.
func (s *self) name() string {
	if p := s.node.Load(); p != nil {
		return p.Name
	}
	return ""
}
