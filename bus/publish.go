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
