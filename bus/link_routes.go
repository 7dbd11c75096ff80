package bus

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus/internal/frame"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// maxRoutes bounds the routes that a peer may announce.
const maxRoutes = 1 << 20

// peerRoutes is the routes to the peer's consumers, and the account of what was sent on them.
// Its fields are guarded by writer.mu. The link's reader alone writes byNumber, and so may
// read it without.
type peerRoutes struct {
	*services
	*writer
	rings  *rings
	linked *signal // fired when routes come or go
	ends   *bulkEnds
	link   carrier // what the routes go over

	byNumber []*route // which the peer has given
	theirs   theirs   // how far the peer has got in telling of them
	sent     int64    // messages
	outside  int64    // of those: not settled
	windows  windows
}

// init prepares the routes of a link.
func (p *peerRoutes) init(l *link, c *core) {
	p.services, p.writer, p.rings, p.linked, p.ends, p.link = l.services, &l.writer, &c.rings, &c.members.linked, &l.ends, l
	p.windows.services, p.windows.writer = l.services, &l.writer
	p.theirs = theirsComing
}

// got takes over the peer's consumers; whole says that the peer has told all. Adding the routes, taking out the
// removed ones and acknowledging both is one step for senders that post on the link.
func (p *peerRoutes) got(b []byte) (whole bool, err error) {
	var r wire.Routes
	if err := proto.Unmarshal(b, &r); err != nil {
		return false, fmt.Errorf("%w: routes: %v", frame.ErrMalformed, err)
	}
	removed, added, err := p.change(&r)
	if err != nil {
		return false, err
	}
	p.soon()
	p.ends.routeAgain()
	grantAll(removed)
	grantAll(added)
	if len(added) > 0 {
		p.linked.fire()
	}
	return r.Last, nil
}

func (p *peerRoutes) change(r *wire.Routes) (touched, added []*route, err error) {
	c := p.rings
	c.mu.Lock()
	defer c.mu.Unlock()
	p.mu.Lock()
	defer func() { // also when the frame is wrong further on
		p.mu.Unlock()
		c.tidyAll(touched)
	}()
	if touched, err = p.removeLocked(r.Removed); err != nil {
		return touched, nil, err
	}
	for _, a := range r.Added {
		rt, err := p.add(a)
		if err != nil {
			return touched, nil, err
		}
		if p.err != nil || p.theirs >= theirsLeaving {
			rt.removed = true
			touched = append(touched, rt)
			continue
		}
		c.addRoute(rt)
		added = append(added, rt)
	}
	p.frameLocked(frame.RoutesAck, &frame.Head{frame.FSeq: r.Seq})
	return touched, added, nil
}

// removeLocked takes the routes out that the peer has removed, and takes back the large
// messages to them (rule 7). If one of the routes is wrong, those that come before it in
// nums are taken out all the same. The caller holds core.mu and writer.mu.
func (p *peerRoutes) removeLocked(nums []uint32) (drop []*route, err error) {
	for _, num := range nums {
		rt := p.get(uint64(num))
		if rt == nil || rt.removed && p.theirs < theirsLeaving {
			err = fmt.Errorf("%w: removal of route %d, which is not there", frame.ErrMalformed, num)
			break
		}
		if !rt.removed {
			rt.remove()
			drop = append(drop, rt)
		}
	}
	p.resetAllLocked(func(b *bulkOut) bool { // a publish goes on for its other routes, and a handover has no route
		m := b.largeMessage()
		return m != nil && !m.publishes() && m.routes[0].removed
	})
	p.rings.dropRoutes(drop)
	return drop, err
}

// add makes the record of a route that the peer has added. It reports an error for one
// that cannot be (rule 18).
func (p *peerRoutes) add(a *wire.Routes_Added) (*route, error) {
	if a.Window == 0 {
		a.Window = windowFloor
	}
	if a.Number == 0 || a.Number > maxRoutes || a.Window > maxWindow {
		return nil, fmt.Errorf("%w: route %d with a window of %d", frame.ErrMalformed, a.Number, a.Window)
	}
	if err := checkAddress(a.Address); err != nil {
		return nil, fmt.Errorf("%w: route %d: %v", frame.ErrMalformed, a.Number, err)
	}
	if old := p.get(uint64(a.Number)); old != nil && (!old.removed || old.unsettled > 0) {
		return nil, fmt.Errorf("%w: route %d is in use", frame.ErrMalformed, a.Number)
	}
	for uint64(len(p.byNumber)) <= uint64(a.Number) {
		p.byNumber = append(p.byNumber, nil)
	}
	rt := &route{home: &p.rings.ringOf(a.Address).home, to: p.link, num: a.Number, window: int64(a.Window), published: a.Published}
	p.byNumber[a.Number] = rt
	return rt, nil
}

// forgetLocked (rule 3) forgets a removed route once nothing more will come for it: the
// peer has said that it sends no message back any more, and all messages are settled.
func (p *peerRoutes) forgetLocked(rt *route) {
	if !rt.removed || !rt.over || rt.unsettled > 0 {
		return
	}
	p.byNumber[rt.num] = nil
	p.byNumber = trimmed(p.byNumber)
}

// overLocked notes that no message comes back any more that was sent on a route.
func (p *peerRoutes) overLocked(rt *route) {
	if rt != nil {
		rt.over = true
		p.forgetLocked(rt)
	}
}

// get returns the record of a route, which may have been removed.
func (p *peerRoutes) get(num uint64) *route {
	if num >= uint64(len(p.byNumber)) {
		return nil
	}
	return p.byNumber[num]
}

// dropStep is how many routes are taken out in one step: where they are very many the
// locks are let go of between, so that others are not held up, and heartbeats go on.
const dropStep = 8 << 10

// dropAll takes all routes of the link out, and from here on none is added. It calls
// then in the critical section in which it takes out the last routes (leaving 2): so the
// frames that then appends come behind all messages to these routes.
func (p *peerRoutes) dropAll(then func()) {
	for from, more := 0, true; more; from += dropStep {
		more = p.dropSome(from, then)
	}
}

func (p *peerRoutes) dropSome(from int, then func()) (more bool) {
	var drop []*route
	defer func() { grantAll(drop) }()
	defer p.ends.routeAgain()
	c := p.rings
	c.mu.Lock()
	defer c.mu.Unlock()
	p.mu.Lock()
	for i := from; i < min(from+dropStep, len(p.byNumber)); i++ {
		if rt := p.byNumber[i]; rt != nil && !rt.removed {
			rt.remove()
			drop = append(drop, rt)
		}
	}
	p.theirs.to(theirsLeaving)
	c.dropRoutes(drop)
	p.resetAllLocked(func(*bulkOut) bool { return true })
	if more = from+dropStep < len(p.byNumber); !more {
		then()
	}
	p.mu.Unlock()
	c.tidyAll(drop)
	return more
}

// gotDone knows that the last message is back that was sent to a consumer
// of the peer's that has closed; 0 stands for all of a peer that leaves.
func (p *peerRoutes) gotDone(num uint64) {
	over := []*route{p.get(num)}
	if num == 0 {
		over = slices.Clone(p.byNumber)
	}
	p.rings.releaseKeys(over)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rt := range over {
		p.overLocked(rt)
	}
}
