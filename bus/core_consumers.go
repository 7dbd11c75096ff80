package bus

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

func (c *core) refuseIfClosing(cs ...*Consumer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refuseIfClosingLocked(cs)
}

func (c *core) refuseIfClosingLocked(cs []*Consumer) error {
	if c.leave.at(busLeaves) {
		return fmt.Errorf("%w: cannot consume %q", ErrClosed, cs[0].address)
	}
	return nil
}

// announce makes consumers known, here and on all linked nodes.
func (c *core) announce(cs ...*Consumer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refuseIfClosingLocked(cs); err != nil {
		return err
	}
	if err := c.refuseIfManyLocked(cs); err != nil {
		return err
	}
	for _, cn := range cs {
		c.announceLocked(cn)
	}
	for l := range c.members.links {
		l.soon()
	}
	return nil
}

// refuseIfManyLocked refuses consumers for which there are no numbers.
func (c *core) refuseIfManyLocked(cs []*Consumer) error {
	have := len(c.consumers) - 1 - len(c.free) // 0 is no number
	for _, cn := range cs {
		if cn.made&madeLocal != 0 {
			continue
		}
		if have++; have > maxRoutes {
			return fmt.Errorf("%w: cannot consume %q: other nodes know at most %d consumers of this one; use LocalOnly for others", ErrTooLarge, cn.address, maxRoutes)
		}
	}
	return nil
}

func (c *core) announceLocked(cn *Consumer) {
	cn.mu.Lock()
	closed := cn.closed
	cn.mu.Unlock()
	if closed { // by its maker, before anybody knew it
		return
	}
	r := c.rings.ringOf(cn.address)
	if cn.made&madeLocal == 0 {
		c.numberOf(cn) // before readers of links find it in mine
	}
	cn.local = route{home: &r.home, to: cn, window: cn.window.first(), num: cn.num, published: cn.made&madePublished != 0}
	if old := r.mine.Load(); old != nil {
		cn.sibling.Store(old)
		old.younger = cn
	}
	r.mine.Store(cn)
	c.rings.addRoute(&cn.local)
	if c.events.wanted() {
		c.events.note(ConsumerOpened{cn.address})
	}
	if cn.made&madeLocal == 0 {
		for l := range c.members.links {
			l.announcer.announce(cn)
		}
	}
	r.grant() // messages may wait for it
	c.members.linked.fire()
}

// numberOf gives the consumer a number that no link knows any more.
func (c *core) numberOf(cn *Consumer) {
	if n := len(c.free); n > 0 {
		cn.num, c.free = c.free[n-1], c.free[:n-1]
		c.consumers[cn.num] = cn
		return
	}
	cn.num = uint32(len(c.consumers))
	c.consumers = append(c.consumers, cn)
}

func (c *core) closeConsumer(cn *Consumer) {
	c.mu.Lock()
	msgs, first := c.shut(cn)
	announced := cn.local.home != nil
	if first && announced {
		c.rings.dropRoutes([]*route{&cn.local})
		if cn.num != 0 {
			back := byLink(msgs)
			for l := range c.members.links {
				l.announcer.retract(cn, back[&l.inbounds])
			}
		}
		c.forgetConsumer(cn)
	}
	c.mu.Unlock()
	c.sendBack(msgs)
	if first && announced {
		c.rings.releaseKeys([]*route{&cn.local})
		cn.local.home.grant()
	}
}

// shut marks a consumer closed and returns the messages that waited; first says whether
// it was not closed before. The caller holds core.mu, and takes the route out of its
// ring then.
func (c *core) shut(cn *Consumer) (msgs []*Message, first bool) {
	msgs, over, first := cn.close()
	if first && !over {
		c.late[cn] = struct{}{}
	}
	return msgs, first
}

// forgetConsumer forgets a closed consumer that nothing refers to any more. The caller
// holds core.mu.
func (c *core) forgetConsumer(cn *Consumer) {
	if cn.pins > 0 {
		return
	}
	at, older := &cn.local.ring().mine, cn.sibling.Load()
	if cn.younger != nil {
		at = &cn.younger.sibling
	}
	at.Store(older) // a goroutine that is at cn goes on from cn.sibling, which stays
	if older != nil {
		older.younger = cn.younger
	}
	cn.younger = nil
	c.unnumber(cn)
	cn.forgotten = true
	c.rings.tidy(cn.local.ring())
}

// unnumber frees a consumer's number. The caller holds core.mu.
func (c *core) unnumber(cn *Consumer) {
	if cn.num == 0 {
		return
	}
	c.consumers[cn.num] = nil
	c.free = append(c.free, cn.num)
	if len(c.free) == len(c.consumers)-1 {
		c.consumers, c.free = shrunk(c.consumers[:1]), shrunk(c.free[:0])
	}
}

// consumerOver forgets a closed consumer of which nothing is under way any more.
func (c *core) consumerOver(cn *Consumer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.late, cn)
}

// unpin takes back what links hold of closed consumers.
func (c *core) unpin(cs ...*Consumer) {
	for part := range slices.Chunk(cs, dropStep) {
		c.mu.Lock()
		for _, cn := range part {
			if cn.pins--; cn.pins == 0 {
				c.forgetConsumer(cn)
			}
		}
		c.mu.Unlock()
	}
}

func (c *core) awaitKnown(ctx context.Context, cn *Consumer) error {
	c.mu.Lock()
	links := slices.Collect(maps.Keys(c.members.links))
	announced := cn.local.home != nil
	c.mu.Unlock()
	if !announced {
		return fmt.Errorf("%w: consumer of %q is not announced", ErrClosed, cn.address)
	}
	for _, l := range links {
		if err := l.announcer.awaitKnown(ctx, cn); err != nil {
			return err
		}
	}
	return nil
}
