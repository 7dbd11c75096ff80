package bridge

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// channels are the addresses at which clients share a consumer, as the rule says
// ([Rule.PublishedOnly]).
type channels struct {
	mu sync.Mutex // taken before that of a channel
	by map[string]*channel
}

// channel is a consumer of what is published at an address, for all clients of the
// bridge that are registered there.
type channel struct {
	bridge   *Bridge
	address  string
	consumer *bus.Consumer // set before the channel is in channels

	mu      sync.RWMutex
	members map[*registration]struct{}
}

// join makes a registration a member of the channel of its address.
func (b *Bridge) join(r *registration) error {
	b.channels.mu.Lock()
	defer b.channels.mu.Unlock()
	ch := b.channels.by[r.address]
	if ch == nil {
		ch = &channel{bridge: b, address: r.address, members: map[*registration]struct{}{}}
		var err error
		if ch.consumer, err = b.eb.Consume(r.address, ch, bus.PublishedOnly()); err != nil {
			return err
		}
		b.channels.by[r.address] = ch
	}
	r.channel, r.consumer = ch, ch.consumer
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.members[r] = struct{}{}
	return nil
}

// leave takes a registration out of its channel: when it returns, nothing is put into
// the client's outbox any more for its sake. The last one closes the channel.
func (b *Bridge) leave(r *registration) {
	b.channels.mu.Lock()
	defer b.channels.mu.Unlock()
	ch := r.channel
	ch.mu.Lock()
	delete(ch.members, r)
	last := len(ch.members) == 0
	ch.mu.Unlock()
	if last {
		delete(b.channels.by, ch.address)
		_ = ch.consumer.Close() // which returns no error
	}
}

// Handle puts a publish into the outboxes of all members. Like a publish of the bus it
// waits for those without room, once per stall of each, and then skips them.
func (ch *channel) Handle(ctx context.Context, m *bus.Message) error {
	deadline, _ := ctx.Deadline()
	p := &publication{bridge: ch.bridge, m: m, deadline: deadline}
	late := ch.offer(p)
	if len(late) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ch.bridge.ctx, patience)
	defer cancel()
	for _, r := range late {
		r.session.outbox.await(ctx)
	}
	ch.skip(p, late)
	return nil
}

// patience is how long a publish waits for clients whose outboxes are full: less than those
// behind it wait for the consumer, or all clients would miss them for the sake of one.
const patience = 20 * time.Millisecond

// offer puts a publish into the outboxes that have room and returns whose have none.
func (ch *channel) offer(p *publication) (late []*registration) {
	ch.mu.RLock()
	defer ch.mu.RUnlock()
	for r := range ch.members {
		if !r.put(p, false) {
			late = append(late, r)
		}
	}
	return late
}

// skip puts a publish into the outboxes that have got room, and skips the other members.
func (ch *channel) skip(p *publication, late []*registration) {
	ch.mu.RLock()
	defer ch.mu.RUnlock()
	for _, r := range late {
		if _, there := ch.members[r]; there {
			r.put(p, true)
		}
	}
}

// publication is what was published, for many clients: its JSON, and each encoding of that,
// is made once, when the first client is to read it.
type publication struct {
	bridge   *Bridge
	m        *bus.Message
	deadline time.Time

	made sync.Once
	body json.RawMessage
	err  error // there is no JSON

	packed [forms]struct {
		once  sync.Once
		frame []byte
	}
}

// cost is what the publication counts in an outbox: its frame, about, and what keeps it.
func (p *publication) cost() int { return len(p.m.Body) + 256 }

// json returns the body, nil if there is none.
func (p *publication) json() (json.RawMessage, error) {
	p.made.Do(func() { p.body, p.err = p.bridge.toClient(p.m.Address(), p.m) })
	return p.body, p.err
}

// has reports whether a hook has left an event of the publication as it was.
func (p *publication) has(e *Event) bool {
	same := len(e.Body) == len(p.body) && (len(e.Body) == 0 || &e.Body[0] == &p.body[0]) || p.body == nil && string(e.Body) == "null"
	return same && maps.EqualFunc(e.Header, p.m.Header(), slices.Equal)
}

// frameFor returns the publication as the session's connection carries it.
func (p *publication) frameFor(s *session) []byte {
	packed := &p.packed[s.conn.form()]
	packed.once.Do(func() {
		out := message{address: p.m.Address(), header: p.m.Header(), body: p.body}
		packed.frame = s.conn.pack(nil, text(s.dialect.appendMessage(nil, &out)))
	})
	return packed.frame
}
