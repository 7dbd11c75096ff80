package cluster

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
)

const (
	lostAfter   = time.Second     // how long a broken link may take to be dialled anew before the member counts as lost
	missedAfter = 5 * time.Second // how long a living member may be without a link before something is wrong

	// While members are linked for the first time, as when many nodes start at once,
	// one that waits for its turn may do so for longer, up to this.
	meetingMost = 30 * time.Second
)

// A roster is the list of the other members. It judges what becomes of each by
// two witnesses: gossip, which hears of all, and the links, which are this
// node's own. A link that is up is believed before gossip.
type roster struct {
	mu      sync.Mutex
	byBoot  map[uint64]*entry
	dropped []change      // members that are listed no more, since the last update
	met     time.Time     // when a member was linked for the first time last
	changed chan struct{} // closed and replaced with each change
}

// An entry is what this node knows of a member.
type entry struct {
	Member // as it was judged

	gossip   Status    // what gossip says
	heard    bool      // gossip has told of the member, and not forgotten it
	met      bool      // it has been linked
	down     time.Time // since when there is no link
	lost     bool      // its link broke, and gossip has not found the member again since it lost it, too
	goodbye  bool      // its link ended as it left
	outlived bool      // another boot is proven to live at its address
	buried   bool      // it was so before, or is
	unheard  spell     // gossip loses it though it is linked
	told     Member    // as it was after the last update that changed it; its Boot is 0 before
	sought   bool      // and whether it was wanted
}

// A change is what an update did to a member. A Boot of 0 means that it was, or
// is, not listed.
type change struct {
	was, is       Member
	sought, seeks bool // whether a link with it was, and is, to be set up
}

func newRoster() *roster {
	return &roster{byBoot: map[uint64]*entry{}, changed: make(chan struct{})}
}

// update lets f change the roster, unless it is nil, judges all members anew,
// and returns what has changed since the last update. Time changes things, too: see lostAfter.
func (r *roster) update(f func()) (changes []change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f != nil {
		f()
	}
	changes, r.dropped = r.dropped, nil
	believed := r.believed()
	for _, e := range r.byBoot {
		e.Status = e.judge(believed)
		c := change{e.told, e.Member, e.sought, e.wanted()}
		if c.was.Boot == 0 || c.was.Status != c.is.Status || c.was.Since != c.is.Since || c.sought != c.seeks {
			changes = append(changes, c)
			e.told, e.sought = c.is, c.seeks
		}
	}
	close(r.changed)
	r.changed = make(chan struct{})
	return changes
}

// believed reports whether gossip's word counts for members whose links are
// lost. It comes by way of those that are linked: when more are lost than
// linked it is this node that is cut off, and what it heard is old. The caller
// holds mu.
func (r *roster) believed() bool {
	linked, lost := 0, 0
	for _, e := range r.byBoot {
		switch {
		case e.Linked():
			linked++
		case e.wanted() && e.isLost():
			lost++
		}
	}
	return linked >= lost
}

// judge says what becomes of a member. believed says whether gossip is believed
// about it if its link is lost.
func (e *entry) judge(believed bool) Status {
	switch {
	case e.Linked() && (!e.heard || e.gossip == StatusFailed):
		return StatusAlive
	case e.goodbye && e.gossip == StatusAlive:
		return StatusLeaving
	case e.goodbye && e.gossip == StatusFailed:
		return StatusLeft
	case e.wanted() && e.isLost() && !believed, e.outlived && e.gossip == StatusAlive:
		return StatusFailed
	}
	return e.gossip
}

func (e *entry) isLost() bool { return e.lost && time.Since(e.down) >= lostAfter }

// wanted reports whether there should be a link with the member, as far as
// gossip knows.
func (e *entry) wanted() bool {
	return e.heard && e.gossip == StatusAlive && !e.outlived && !e.goodbye
}

// hear takes what gossip says of a member, and returns what it said before, if
// it had told of it. The caller holds mu, by update.
func (r *roster) hear(m Member) (was Status, had bool) {
	e := r.entry(m.Peer)
	was, had = e.gossip, e.heard
	e.gossip, e.heard = m.Status, true
	if had && was == StatusFailed && m.Status == StatusAlive { // found again: what was held against it is old
		e.lost, e.outlived = false, false
		e.down = time.Now()
	}
	if had && was != StatusFailed && m.Status == StatusFailed {
		e.unheard.lose()
	}
	return was, had
}

// forget takes that gossip does not list a member any more. One that is linked
// stays. The caller holds mu, by update.
func (r *roster) forget(boot uint64) {
	if e := r.byBoot[boot]; e != nil {
		e.heard = false
		r.drop(e)
	}
}

// link takes that the link with a member is up. The caller holds mu, by update.
func (r *roster) link(who bus.Peer) {
	e := r.entry(who)
	e.Since, e.Err = who.Since, nil
	if !e.met {
		e.met, r.met = true, time.Now()
	}
	e.lost, e.goodbye, e.outlived = false, false, false
}

// unlink takes that the link has ended, by a goodbye if why is nil. The caller
// holds mu, by update.
func (r *roster) unlink(boot uint64, why error) {
	e := r.byBoot[boot]
	if e == nil {
		return
	}
	e.Since, e.Err, e.down = time.Time{}, why, time.Now()
	e.lost, e.goodbye = why != nil, why == nil
	r.drop(e)
}

// leaves takes that a member has refused a link since it leaves. The caller holds
// mu, by update.
func (r *roster) leaves(boot uint64) {
	if e := r.byBoot[boot]; e != nil {
		e.goodbye = true
	}
}

// outlive takes that another boot lives at a member's address, and reports
// whether gossip is to be told: once, since a boot that comes back after that
// lives. The caller holds mu, by update.
func (r *roster) outlive(boot uint64) (first bool) {
	e := r.byBoot[boot]
	if e == nil {
		return false
	}
	first = !e.buried && e.gossip == StatusAlive
	e.outlived, e.buried = true, true
	return first
}

// unreached notes why a member was not reached, for those who ask.
func (r *roster) unreached(boot uint64, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.byBoot[boot]; e != nil && !e.Linked() {
		e.Err = why
	}
}

// entry returns the entry of a member, which is new unless there is one. The
// caller holds mu.
func (r *roster) entry(who bus.Peer) *entry {
	e := r.byBoot[who.Boot]
	if e == nil {
		e = &entry{down: time.Now()}
		r.byBoot[who.Boot] = e
	}
	since := e.Since
	e.Peer = who
	e.Since = since
	return e
}

// drop removes an entry of which neither gossip nor a link tells any more. The
// caller holds mu.
func (r *roster) drop(e *entry) {
	if e.heard || e.Linked() {
		return
	}
	delete(r.byBoot, e.Boot)
	if e.told.Boot != 0 {
		r.dropped = append(r.dropped, change{was: e.told, sought: e.sought})
	}
}

// wait returns a channel that closes with the next change.
func (r *roster) wait() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// get returns a member.
func (r *roster) get(boot uint64) (Member, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.byBoot[boot]; e != nil {
		return e.Member, true
	}
	return Member{}, false
}

// list returns all members, sorted by name and boot id.
func (r *roster) list() []Member {
	return r.listed(func(*entry) bool { return true })
}

// missed returns the members that are alive and have been without a link for
// too long.
func (r *roster) missed() []Member {
	return r.listed(r.isMissed)
}

// isMissed reports whether a member is alive and has been without a link for too
// long. The caller holds mu.
func (r *roster) isMissed(e *entry) bool {
	if e.Status != StatusAlive || e.Linked() {
		return false
	}
	since := e.down
	if !e.met && r.met.After(since) && time.Since(since) < meetingMost {
		since = r.met
	}
	return time.Since(since) >= missedAfter
}

// failed returns the members that have failed and were not replaced.
func (r *roster) failed() []Member {
	return r.listed(func(e *entry) bool { return e.Status == StatusFailed && !e.outlived })
}

// listed returns the members for which a condition holds, in list's order.
func (r *roster) listed(ok func(*entry) bool) []Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Member, 0, len(r.byBoot))
	for _, e := range r.byBoot {
		if ok(e) {
			all = append(all, e.Member)
		}
	}
	slices.SortFunc(all, byName)
	return all
}

func byName(a, b Member) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Boot, b.Boot))
}

// A company is how many others there are.
type company struct {
	linked int // a link is up
	alive  int // alive, linked or not
	missed int // alive, without a link for too long
	fresh  int // a link has broken a moment ago
	failed int // failed, and not replaced at their addresses
}

// company counts the others.
func (r *roster) company() (c company) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.byBoot {
		switch {
		case e.Linked():
			c.linked++
		case e.lost && !e.isLost():
			c.fresh++
		case r.isMissed(e):
			c.missed++
		}
		switch {
		case e.Status == StatusAlive:
			c.alive++
		case e.Status == StatusFailed && !e.outlived:
			c.failed++
		}
	}
	return c
}

// gone counts the members that are listed and not alive.
func (r *roster) gone() (count int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.byBoot {
		if e.heard && e.gossip != StatusAlive {
			count++
		}
	}
	return count
}

// living returns the addresses of the members that are alive.
func (r *roster) living() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	addrs := map[string]bool{}
	for _, e := range r.byBoot {
		if e.Status == StatusAlive {
			addrs[e.Addr] = true
		}
	}
	return addrs
}

// away returns the addresses of the members that have failed, with the time
// since which they are not linked.
func (r *roster) away() map[string]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	addrs := map[string]time.Time{}
	for _, e := range r.byBoot {
		if e.Status == StatusFailed && !e.outlived {
			addrs[e.Addr] = e.down
		}
	}
	return addrs
}

// neighbour returns another member that gossip says is alive at the address of
// m.
func (r *roster) neighbour(m Member) (other Member, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for boot, e := range r.byBoot {
		if boot != m.Boot && e.Addr == m.Addr && e.gossip == StatusAlive {
			return e.Member, true
		}
	}
	return Member{}, false
}
