package bus

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// leaver is a bus that leaves.
type leaver struct{ *core }

// close leaves: it closes all consumers, sends back what they have not handled,
// waits until everything under way is settled, within the drain time, and says
// goodbye.
func (c leaver) close() error {
	c.mu.Lock()
	first := !c.leave.at(busLeaves)
	c.leave.to(busLeaves)
	c.mu.Unlock()
	if !first {
		<-c.leave.over
		return c.leave.err
	}
	c.beginLeaving()
	over := c.awaitQuiet()
	var overdue error
	if over {
		overdue = c.overdue()
		c.cancelRunning()
		c.goodbye(true)
		c.rings.endWaiting(func(r *ring) error { return fmt.Errorf("%w before %q had a consumer for it", ErrClosed, r.address) })
	}
	c.awaitLinks()
	c.leave.err = errors.Join(overdue, c.brokenLinks())
	c.own.pend.end(func(*call) error { return ErrClosed })
	c.own.pend.stop()
	c.losses.tellAll()
	c.events.await()
	c.bodies.End()
	c.crew.dismiss()
	c.leave.to(busOver)
	close(c.leave.over)
	return c.leave.err
}

// beginLeaving closes all consumers, in one LEAVING per link.
func (c leaver) beginLeaving() {
	c.mu.Lock()
	var msgs []*Message
	var closed []*Consumer
	var local []*route
	for _, r := range c.rings.dir.all() {
		for cn := r.mine.Load(); cn != nil; cn = cn.sibling.Load() {
			m, first := c.shut(cn)
			msgs = append(msgs, m...)
			if first {
				closed, local = append(closed, cn), append(local, &cn.local)
			}
		}
	}
	c.rings.dropRoutes(local)
	back := byLink(msgs)
	var free []*Consumer
	for l := range c.members.links {
		l.mu.Lock()
		free = l.leaveLocked(back[&l.inbounds], free)
		l.mu.Unlock()
	}
	for _, cn := range closed {
		c.forgetConsumer(cn)
	}
	close(c.leave.begun)
	c.mu.Unlock()
	c.unpin(free...)
	c.sendBack(msgs)
	c.rings.releaseKeys(local)
	grantAll(local)
	c.members.linked.fire()
}

const (
	leaveLook     = 100 * time.Millisecond  // how often a node that leaves looks who is there
	leavePatience = 1500 * time.Millisecond // for somebody to come where all leave
)

// awaitQuiet (leaving 3) waits until nothing is under way any more, and says goodbye in the
// step in which it finds that. It reports whether the drain time ended before (leaving 5).
// A send that was sent back to this node and has no consumer is handed over to a node that
// stays. A message that cannot be handed over, as it is too large or a request, is given up
// after half of the drain time; after leavePatience if no node stays.
func (c leaver) awaitQuiet() (over bool) {
	half, end, look := time.NewTimer(c.drain/2), time.NewTimer(c.drain), time.NewTicker(leaveLook)
	defer half.Stop()
	defer end.Stop()
	defer look.Stop()
	alone := !c.inCluster()
	worked := c.clock.now() // when somebody had something to do
	for {
		c.handOver()
		if worked = c.lastWork(worked); alone || c.clock.now()-worked >= int64(min(leavePatience, c.drain/2)) {
			c.rings.endWaiting(func(r *ring) error {
				if r.routes.Load().len() > 0 {
					return nil
				}
				return fmt.Errorf("%w of %q: %w", ErrNoConsumer, r.address, errNobodyLeft)
			})
		}
		if c.goodbye(false) {
			return false
		}
		select {
		case <-c.leave.look:
		case <-look.C:
		case <-half.C:
			alone = true
		case <-end.C:
			return true
		}
	}
}

// lastWork returns when this node last had work, or another node was there that may have a
// consumer for the messages that wait here: now, or else the time before. A peer that leaves
// and ends before it could have waited in vain for somebody to come had work until then.
func (c leaver) lastWork(before int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.now()
	if c.work.active.Load() > 0 {
		return now
	}
	for l := range c.members.links {
		l.mu.Lock()
		works := l.err == nil && (l.inbounds.ours < oursLeft || l.routes.theirs < theirsLeaving)
		l.mu.Unlock()
		if works {
			return now
		}
	}
	for _, e := range c.members.expected {
		if e.until > now {
			return now
		}
	}
	return max(before, c.broken.peerWorked)
}

// brokenLinks is how links have ended while this node left. It is guarded by core.mu.
type brokenLinks struct {
	errs       []error
	peerWorked int64 // when a peer that leaves too had work
}

// note notes how a link has ended. The caller holds core.mu and writer.mu.
func (b *brokenLinks) note(l *link, now int64) {
	if l.leavesAt > 0 && now-l.leavesAt < int64(leavePatience) {
		b.peerWorked = now
	}
	whole := l.routes.outside == 0 && l.inbounds.unsettled.Load() == 0 && l.pend.n.Load() == 0 && len(l.bulks.out)+len(l.given) == 0
	if whole || l.replaced || errors.Is(l.err, errGoodbye) || errors.Is(l.err, ErrClosed) {
		return
	}
	b.errs = append(b.errs, fmt.Errorf("bus: link to %s broke while this node left: %w; %d messages to it and %d from it were under way",
		l.peer, l.err, l.routes.outside+int64(len(l.given)+len(l.bulks.out)), l.inbounds.unsettled.Load()))
}

// brokenLinks returns the errors of links that broke while this node left.
func (c leaver) brokenLinks() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.broken.errs...)
}

func (c leaver) inCluster() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.self.node.Load() != nil
}

// goodbye (leaving 4) says goodbye on all links in one step, if nothing is under way or
// force says so. Once no handler runs and no work comes any more it takes no
// calls: a program that goes on calling could put off the end for ever.
func (c leaver) goodbye(force bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.members.links {
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	if !force && !c.workEnded() {
		return false
	}
	c.leave.to(busFinishes)
	if !force && !c.quiet() {
		return false
	}
	c.leave.to(busGone)
	for l := range c.members.links {
		l.frameLocked(frame.Goodbye, &frame.Head{})
		l.inbounds.ours, l.bye = oursGone, true
		l.token()
		l.wakeLocked()
	}
	close(c.leave.gone)
	return true
}

// workEnded (leaving 3) reports whether no handler runs and no message comes any more. The
// caller holds all locks of links.
func (c leaver) workEnded() bool {
	for l := range c.members.links {
		if l.err == nil && l.inbounds.ours < oursLeft {
			return false
		}
	}
	return c.work.active.Load() == 0
}

// quiet (leaving 3) reports whether nothing is under way, once work has ended. The caller
// holds all locks of links.
func (c leaver) quiet() bool {
	if c.work.placing.Load() > 0 || c.work.waiting.Load() > 0 || c.own.pend.n.Load() > 0 {
		return false
	}
	for l := range c.members.links {
		if l.err == nil && (len(l.bulks.out) > 0 || l.replies.kept > 0 || l.routes.outside > 0 || l.inbounds.unsettled.Load() > 0 || l.pend.n.Load() > 0 || len(l.questions.byID) > 0) {
			return false
		}
	}
	return true
}

// open (leaving 1) reports whether a new link could still be of use.
func (c *core) open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leave.at(busLeaves) {
		return true
	}
	if c.leave.at(busGone) {
		return false
	}
	if c.work.active.Load() > 0 || c.work.waiting.Load() > 0 {
		return true
	}
	for l := range c.members.links {
		l.mu.Lock()
		outside := l.routes.outside
		l.mu.Unlock()
		if outside > 0 {
			return true
		}
	}
	return false
}

// awaitLinks waits until all links have ended; a link that does not end in time is cut.
func (c leaver) awaitLinks() {
	end := time.NewTimer(2 * readOut)
	defer end.Stop()
	for {
		changed := c.members.linked.wait()
		links := c.allLinks()
		if len(links) == 0 {
			return
		}
		for _, l := range links {
			_ = l.conn.SetReadDeadline(time.Now().Add(readOut))
		}
		select {
		case <-changed:
		case <-end.C:
			for _, l := range links { // side by side, as closing TLS may take its time
				go l.fail(errNotEnded)
			}
			end.Reset(2 * readOut)
		}
	}
}

func (c leaver) allLinks() []*link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.members.links))
}

var errNotEnded = errors.New("not read to its end")

var errDrain = errors.New("drain time is over")

// overdue says what was not done in time.
func (c leaver) overdue() error {
	var busy, waited []string
	c.mu.Lock()
	for cn := range c.late {
		busy = append(busy, cn.address)
	}
	c.mu.Unlock()
	for _, r := range c.rings.dir.all() {
		if r.waiting.Load() > 0 {
			waited = append(waited, r.address)
		}
	}
	return fmt.Errorf("bus: %w after %v (WithDrainTimeout): %d consumers still handle messages%s, %d messages wait for a consumer%s",
		errDrain, c.drain, c.work.active.Load(), ofAddresses(busy), c.work.waiting.Load(), ofAddresses(waited))
}

// ofAddresses names a few of the addresses, for the text of an error.
func ofAddresses(addresses []string) string {
	const few = 8
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	var text strings.Builder
	for i, address := range addresses[:min(few, len(addresses))] {
		fmt.Fprintf(&text, "%s%q", []string{" of ", ", "}[min(i, 1)], address)
	}
	if n := len(addresses) - few; n > 0 {
		fmt.Fprintf(&text, " and %d other addresses", n)
	}
	return text.String()
}

// cancelRunning ends the contexts of all handlers that run.
func (c leaver) cancelRunning() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cn := range c.late {
		cn.mu.Lock()
		if cn.box != nil {
			for _, m := range cn.box.handling() {
				m.end(stateCanceled)
			}
		}
		cn.mu.Unlock()
	}
}
