package bus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// patience is how long a publish waits for consumers without room, once per
// stall: then they are skipped until half of their window is free.
const patience = 100 * time.Millisecond

// Publish sends a message to all consumers of the address on all linked nodes;
// that there is none is no error. For consumers without room it waits for up
// to 100 ms; those that have none then miss the message, and the next ones until
// half of their window is free. [Stats] counts what they miss. Options:
// [WithHeader], [NoWait], [LocalOnly], [Within], [Gossip].
func (eb *EventBus) Publish(ctx context.Context, address string, body any, opts ...CallOption) error {
	if out := eb.core.own.out; out != nil {
		_, err := out.intercept(ctx, VerbPublish, address, body, opts, nil)
		return err
	}
	return eb.core.sender.publish(ctx, address, body, opts)
}

func (s *sender) publish(ctx context.Context, address string, body any, opts []CallOption) error {
	var o outgoing
	r, set, err := s.prepare(ctx, &o, VerbPublish, kindPublish, address, body, opts)
	if err != nil {
		return err
	}
	if s.leave.at(busFinishes) {
		return fmt.Errorf("%w: publish to %q", ErrClosed, address)
	}
	if set != nil && set.gossip {
		return s.gossip.publish(address, &o)
	}
	if r == nil {
		return nil
	}
	var links [4]*link // on the stack: most publishes get no memory for these
	var local [4]*Consumer
	t := targets{links[:0], local[:0]}.find(r, o.choice&localOnly != 0)
	if (len(t.local) > 0 || len(o.body) > chunked) && !o.owned { // one copy for all; it may go later
		o.body, o.owned = append([]byte(nil), o.body...), true
	}
	if t = t.post(r, &o, set != nil && set.noWait); !t.none() {
		t.wait(ctx, r, &o)
	}
	return nil
}

// targets are the links and this node's consumers that have not got a publish yet. They
// go by value, so that they can stay on the stack.
type targets struct {
	links []*link
	local []*Consumer
}

func (t targets) none() bool { return len(t.links)+len(t.local) == 0 }

// find adds all targets of the address.
func (t targets) find(r *ring, local bool) targets {
	set := r.routes.Load()
	mine := set.audience(nil)
	for i := range mine.len() {
		for _, rt := range mine.leaf(i) {
			if rt.link() == nil {
				t.local = append(t.local, rt.consumer())
			}
		}
	}
	if !local {
		t.links = set.listeners(t.links)
	}
	return t
}

// post gives the publish to the targets that have room for all of it, or, if last is set,
// for as many of their consumers as have room. It returns the targets that are left.
func (t targets) post(r *ring, o *outgoing, last bool) (left targets) {
	left = targets{t.links[:0], t.local[:0]}
	for _, c := range t.local {
		if !c.postPublish(o, last) {
			left.local = append(left.local, c)
		}
	}
	for _, l := range t.links {
		if !l.postPublish(r, o, last) {
			left.links = append(left.links, l)
		}
	}
	return left
}

// wait waits for the laggards, and skips them when the time is over.
func (t targets) wait(ctx context.Context, r *ring, o *outgoing) {
	o.head[frame.FStarved] = 1
	timer := time.NewTimer(min(patience, time.Duration(o.due(r.services)-r.clock.now())))
	defer timer.Stop()
	for {
		changed := make(chan struct{})
		r.mu.Lock()
		line := r.lineLocked()
		line.publish = append(line.publish, changed)
		r.waiting.Add(1)
		r.mu.Unlock()
		if t = t.post(r, o, false); t.none() {
			r.noPublisher(changed)
			return
		}
		for _, l := range t.links {
			l.soon()
		}
		select {
		case <-changed:
			continue
		case <-timer.C:
		case <-ctx.Done():
		case <-r.leave.gone:
		}
		t.post(r, o, true)
		r.noPublisher(changed)
		return
	}
}

// noPublisher takes back that a publisher waits.
func (r *ring) noPublisher(c chan struct{}) {
	r.mu.Lock()
	if line := r.line; line != nil {
		if i := slices.Index(line.publish, c); i >= 0 {
			line.publish = slices.Delete(line.publish, i, i+1)
			r.waiting.Add(-1)
			r.restLocked()
		}
	}
	r.mu.Unlock()
	r.registry.forget(r.address)
}

// postPublish gives a publish to a consumer of this node. It reports false if
// the consumer has no room and it may yet be waited for.
func (c *Consumer) postPublish(o *outgoing, last bool) bool {
	c.mu.Lock()
	rt := &c.local
	if c.closed || rt.removed {
		c.mu.Unlock()
		return true
	}
	if credit := c.creditLocked(o); rt.stalled || !credit {
		wait := !rt.stalled && !last
		if !wait && !rt.stalled {
			rt.stall()
		}
		c.mu.Unlock()
		if !wait {
			rt.home.lose(LossSkipped, 1)
		}
		return !wait
	}
	rt.home.count(countPublished, 1)
	_, start := c.acceptLocked(rt, o)
	c.mu.Unlock()
	if start {
		c.start()
	}
	return true
}

// postPublish appends one frame for all of the peer's consumers of the address that have
// room, and charges each of them. If some have none, and no publish has waited for them in
// vain yet, it appends nothing and reports false: the caller waits. last says that the
// caller has waited in vain.
func (l *link) postPublish(r *ring, o *outgoing, last bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open() || l.routes.theirs >= theirsLeaving {
		return true
	}
	large := len(o.body) > chunked
	full := !l.entrance.mayPublishLocked(large)
	l.stalled = full && (l.stalled || last)
	if full && !l.stalled {
		l.entrance.queueRingLocked(&r.home, large)
		return false
	}
	routes := r.routes.Load().audience(l) // the peer's routes change under link.mu, which is held
	charge, skip := 0, 0
	for i := range routes.len() {
		for _, rt := range routes.leaf(i) {
			switch {
			case rt.link() != l || rt.removed:
			case rt.takesPublish() && !full:
				charge++
			case rt.stalled || last || full:
				skip++
			default:
				l.starvedLocked(rt, o)
				return false
			}
		}
	}
	r.lose(LossSkipped, skip)
	if charge > 0 {
		l.appendPublish(r, o, routes, charge, skip)
	} else if !full {
		l.stall(routes)
	}
	return true
}

// takesPublish reports whether the route has room for a publish now.
func (rt *route) takesPublish() bool { return rt.credit() > 0 && !rt.stalled && rt.bulks == 0 }

// stall notes that a publish has waited for the route in vain.
func (rt *route) stall() {
	rt.stalled = true
	events := &rt.home.events
	if !events.wanted() {
		return
	}
	lags := ConsumerLags{Address: rt.home.address}
	if rt.link() != nil {
		lags.Peer = rt.link().peer
	}
	events.note(lags)
}

// stall marks the routes without room, for which a publish has waited in vain. The caller
// holds link.mu.
func (l *link) stall(routes audience) {
	for i := range routes.len() {
		for _, rt := range routes.leaf(i) {
			if rt.link() == l && !rt.removed && !rt.takesPublish() && !rt.stalled {
				rt.stall()
			}
		}
	}
}

// appendPublish (rule 14) appends one frame for the link, charges the routes that have
// room for it, and names in the frame the numbers of the routes that have none. The caller
// holds link.mu.
func (l *link) appendPublish(r *ring, o *outgoing, routes audience, charge, skip int) {
	var skipped []byte
	if skip > 0 {
		skipped = l.laggards(routes)
		l.stall(routes)
	}
	if len(skipped) > frame.MaxSkipped { // more than a frame holds: the others must do without it
		r.lose(LossSkipped, charge)
		return
	}
	rest := l.codecs.field(o.codec)
	if len(skipped) > 0 {
		rest = append(frame.AppendSkipped(nil, skipped), rest...)
	}
	large := len(o.body) > chunked
	waited := o.head[frame.FStarved]
	charged := l.charge(o, routes, large)
	defer func() { o.head[frame.FStarved] = waited }() // o goes to other links too
	l.routes.outside += int64(charge)
	l.routes.sent += int64(charge)
	r.count(countPublished, charge)
	if large {
		l.postBulkLocked(o, charged, rest)
		return
	}
	l.bulks.pace.quiet = 0
	o.head[frame.FTimeLeft] = l.leftLocked(o.due(l.services))
	l.buf = append(frame.Append(l.buf, frame.Msg, &o.head, o.header, rest, len(o.body)), o.body...)
	l.wakeLocked()
}

// laggards encodes the numbers of the routes that have no room. The caller holds link.mu.
func (l *link) laggards(routes audience) (b []byte) {
	for i := range routes.len() {
		for _, rt := range routes.leaf(i) {
			if rt.link() == l && !rt.removed && !rt.takesPublish() {
				b = frame.AppendNumber(b, rt.num)
			}
		}
	}
	return b
}

// charge (rule 14) charges the routes that have room for a publish. It puts the number of
// the first of them into the frame's head, and there notes if one of them was starved. If
// the publish is large, charge returns these routes, as the publish holds them up. The
// caller holds link.mu.
func (l *link) charge(o *outgoing, routes audience, large bool) (charged []*route) {
	o.head[frame.FRoute], o.head[frame.FStarved] = 0, 0
	for i := range routes.len() {
		for _, rt := range routes.leaf(i) {
			if rt.link() != l || rt.removed || !rt.takesPublish() {
				continue
			}
			if o.head.Route() == 0 {
				o.head[frame.FRoute] = uint64(rt.num)
			}
			if rt.starved {
				rt.starved, o.head[frame.FStarved] = false, 1
			}
			rt.charge(o.cost)
			if large {
				charged = append(charged, rt)
			}
		}
	}
	return charged
}
