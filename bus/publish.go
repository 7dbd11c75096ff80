package bus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// patience is how long a publish waits for consumers without room, once per
// stall: then they are skipped until half of their window is free.
const patience = 100 * time.Millisecond

func (c *core) publish(ctx context.Context, address string, body any, opts []CallOption) error {
	var o outgoing
	set, err := c.prepare(ctx, &o, verbPublish, kindPublish, address, body, opts)
	if err != nil {
		return err
	}
	if c.refuses.Load() {
		return fmt.Errorf("%w: publish to %q", ErrClosed, address)
	}
	if set != nil && set.gossip {
		return c.publishGossip(address, &o)
	}
	r := o.ring
	if r == nil {
		return nil
	}
	p := publishing{ring: r, o: &o}
	p.links, p.local = p.fewLinks[:0], p.fewLocal[:0]
	p.targets()
	if (len(p.local) > 0 || len(o.body) > chunked) && !o.owned { // one copy for all; it may go later
		o.body, o.owned = slices.Clone(o.body), true
	}
	if !p.try(set != nil && set.noWait) {
		p.wait(ctx)
	}
	return nil
}

// publishing is one publish.
type publishing struct {
	ring  *ring
	o     *outgoing
	links []*link     // that have not got it
	local []*Consumer // likewise

	fewLinks [4]*link // of which no memory need be got
	fewLocal [4]*Consumer
}

func (p *publishing) targets() {
	for _, rt := range *p.ring.routes.Load() {
		switch {
		case rt.link == nil:
			p.local = append(p.local, rt.consumer)
		case p.o.choice&localOnly == 0 && !slices.Contains(p.links, rt.link):
			p.links = append(p.links, rt.link)
		}
	}
}

// try posts to those that have room for all of it, or, at last, for what they
// have room for. It reports whether none is left.
func (p *publishing) try(last bool) (done bool) {
	p.local = slices.DeleteFunc(p.local, func(c *Consumer) bool { return c.postPublish(p.o, last) })
	p.links = slices.DeleteFunc(p.links, func(l *link) bool { return l.postPublish(p.ring, p.o, last) })
	return len(p.local)+len(p.links) == 0
}

// wait waits for the laggards, and skips them when the time is over.
func (p *publishing) wait(ctx context.Context) {
	r := p.ring
	p.o.head[fStarved] = 1
	t := time.NewTimer(patience)
	defer t.Stop()
	for {
		changed := make(chan struct{})
		r.mu.Lock()
		line := r.lineLocked()
		line.publish = append(line.publish, changed)
		r.waiting.Add(1)
		r.mu.Unlock()
		if p.try(false) {
			r.noPublisher(changed)
			return
		}
		for _, l := range p.links {
			l.soon()
		}
		select {
		case <-changed:
			continue
		case <-t.C:
		case <-ctx.Done():
		case <-r.core.ended:
		}
		p.try(true)
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
	r.core.forget(r)
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
	if rt.stalled || rt.credit() <= 0 && !c.growLocked() {
		wait := !rt.stalled && !last
		rt.stalled = !wait
		c.mu.Unlock()
		if !wait {
			c.core.stats.skipped.Add(1)
		}
		return !wait
	}
	start := c.acceptLocked(rt, o)
	c.mu.Unlock()
	if start {
		c.start()
	}
	return true
}

// postPublish appends one frame for all of the peer's consumers of the address,
// and charges each. It reports false if some have no room and may yet be waited
// for.
func (l *link) postPublish(r *ring, o *outgoing, last bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.bye || l.leftBehind {
		return true
	}
	full := len(l.buf) >= bufferCap || len(o.body) > chunked && !l.bulks.takesBulk()
	l.stalled = full && (l.stalled || last)
	if full && !l.stalled {
		l.blockedLocked(r)
		return false
	}
	routes := *r.routes.Load() // as the peer knows them: they change under this lock
	charge, skip := 0, 0
	for _, rt := range routes {
		switch {
		case rt.link != l || rt.removed:
		case rt.takesPublish() && !full:
			charge++
		case rt.stalled || last || full:
			skip++
		default:
			return false
		}
	}
	l.core.stats.skipped.Add(uint64(skip))
	if charge > 0 {
		l.appendPublish(o, routes, charge, skip)
	} else if !full {
		l.stall(routes)
	}
	return true
}

// takesPublish reports whether the route has room for a publish now.
func (rt *route) takesPublish() bool { return rt.credit() > 0 && !rt.stalled && rt.bulks == 0 }

// stall marks the routes without room, which were waited for in vain.
func (l *link) stall(routes []*route) {
	for _, rt := range routes {
		if rt.link == l && !rt.removed && !rt.takesPublish() {
			rt.stalled = true
		}
	}
}

// appendPublish appends the frame for the routes that take it and charges
// those; it names those that do not.
func (l *link) appendPublish(o *outgoing, routes []*route, charge, skip int) {
	var skipped []byte
	if skip > 0 {
		for _, rt := range routes {
			if rt.link == l && !rt.removed && !rt.takesPublish() {
				skipped = protowire.AppendVarint(skipped, uint64(rt.num))
			}
		}
		l.stall(routes)
	}
	if len(skipped) > maxSkipped { // more than a frame holds: the others must do without it
		l.core.stats.skipped.Add(uint64(charge))
		return
	}
	large := len(o.body) > chunked
	var charged []*route // of a large one, which holds them up
	o.head[fRoute] = 0
	for _, rt := range routes {
		if rt.link != l || rt.removed || !rt.takesPublish() {
			continue
		}
		if o.head[fRoute] == 0 {
			o.head[fRoute] = uint64(rt.num)
		}
		rt.charge(o.cost)
		if large {
			charged = append(charged, rt)
		}
	}
	l.outside += int64(charge)
	l.sent += int64(charge)
	if large {
		l.postBulkLocked(o, charged, skipped)
		return
	}
	l.bulks.quiet = 0
	l.buf = append(appendFrame(l.buf, frameMsg, &o.head, o.header, skipped, len(o.body)), o.body...)
	l.wakeLocked()
}
