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

// gotRoutes takes over the peer's consumers. Adding the routes, taking out the
// removed ones and acknowledging both is one step for senders that post on the link.
func (l *link) gotRoutes(b []byte) error {
	var r wire.Routes
	if err := proto.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%w: routes: %v", frame.ErrMalformed, err)
	}
	removed, added, err := l.changeRoutes(&r)
	if err != nil {
		return err
	}
	l.soon()
	l.ends.routeAgain()
	grantAll(removed)
	grantAll(added)
	if len(added) > 0 {
		l.linked.fire()
	}
	if r.Last {
		l.owner.linkUp(l)
	}
	return nil
}

func (l *link) changeRoutes(r *wire.Routes) (touched, added []*route, err error) {
	c := l.rings
	c.mu.Lock()
	defer c.mu.Unlock()
	l.mu.Lock()
	defer func() { // also when the frame is wrong further on
		l.mu.Unlock()
		c.tidyAll(touched)
	}()
	if touched, err = l.removeLocked(r.Removed); err != nil {
		return touched, nil, err
	}
	for _, a := range r.Added {
		rt, err := l.newRoute(a)
		if err != nil {
			return touched, nil, err
		}
		if l.err != nil || l.theirs >= theirsLeaving {
			rt.removed = true
			touched = append(touched, rt)
			continue
		}
		c.addRoute(rt)
		added = append(added, rt)
	}
	l.frameLocked(frame.RoutesAck, &frame.Head{frame.FSeq: r.Seq})
	return touched, added, nil
}

// removeLocked takes the routes out that the peer has removed, and takes back the large
// messages to them (rule 7). If one of the routes is wrong, those that come before it in
// nums are taken out all the same. The caller holds core.mu and link.mu.
func (l *link) removeLocked(nums []uint32) (drop []*route, err error) {
	for _, num := range nums {
		rt := l.route(uint64(num))
		if rt == nil || rt.removed && l.theirs < theirsLeaving {
			err = fmt.Errorf("%w: removal of route %d, which is not there", frame.ErrMalformed, num)
			break
		}
		if !rt.removed {
			rt.removed = true
			drop = append(drop, rt)
		}
	}
	l.resetAllLocked(func(b *bulkOut) bool { // a publish goes on for its other routes, and a handover has no route
		m := b.largeMessage()
		return m != nil && !m.publishes() && m.routes[0].removed
	})
	l.rings.dropRoutes(drop)
	return drop, err
}

// newRoute makes the record of a route that the peer has added. It reports an error for one
// that cannot be (rule 18).
func (l *link) newRoute(a *wire.Routes_Added) (*route, error) {
	if a.Window == 0 {
		a.Window = windowFloor
	}
	if a.Number == 0 || a.Number > maxRoutes || a.Window > maxWindow {
		return nil, fmt.Errorf("%w: route %d with a window of %d", frame.ErrMalformed, a.Number, a.Window)
	}
	if err := checkAddress(a.Address); err != nil {
		return nil, fmt.Errorf("%w: route %d: %v", frame.ErrMalformed, a.Number, err)
	}
	if old := l.route(uint64(a.Number)); old != nil && (!old.removed || old.unsettled > 0) {
		return nil, fmt.Errorf("%w: route %d is in use", frame.ErrMalformed, a.Number)
	}
	for uint64(len(l.routes)) <= uint64(a.Number) {
		l.routes = append(l.routes, nil)
	}
	if old := l.routes[a.Number]; old != nil {
		old.bookSettled()
	}
	rt := &route{home: &l.rings.ringOf(a.Address).home, to: l, num: a.Number, window: int64(a.Window)}
	l.routes[a.Number] = rt
	return rt, nil
}

// forgetLocked (rule 3) forgets a removed route once nothing more will come for it: the
// peer has said that it sends no message back any more, and all messages are settled.
func (l *link) forgetLocked(rt *route) {
	if !rt.removed || !rt.over || rt.unsettled > 0 {
		return
	}
	rt.bookSettled()
	l.routes[rt.num] = nil
	l.routes = trimmed(l.routes)
}

// routeOverLocked notes that no message comes back any more that was sent on a route.
func (l *link) routeOverLocked(rt *route) {
	if rt != nil {
		rt.over = true
		l.forgetLocked(rt)
	}
}

// route returns the record of a route, which may have been removed.
func (l *link) route(num uint64) *route {
	if num >= uint64(len(l.routes)) {
		return nil
	}
	return l.routes[num]
}

// dropStep is how many routes are taken out in one step: where they are very many the
// locks are let go of between, so that others are not held up, and heartbeats go on.
const dropStep = 8 << 10

// dropAllRoutes takes all routes of the link out, and from here on none is added. It calls
// then in the critical section in which it takes out the last routes (leaving 2): so the
// frames that then appends come behind all messages to these routes.
func (l *link) dropAllRoutes(then func()) {
	for from, more := 0, true; more; from += dropStep {
		more = l.dropSomeRoutes(from, then)
	}
}

func (l *link) dropSomeRoutes(from int, then func()) (more bool) {
	var drop []*route
	defer func() { grantAll(drop) }()
	defer l.ends.routeAgain()
	c := l.rings
	c.mu.Lock()
	defer c.mu.Unlock()
	l.mu.Lock()
	for i := from; i < min(from+dropStep, len(l.routes)); i++ {
		if rt := l.routes[i]; rt != nil && !rt.removed {
			rt.removed = true
			drop = append(drop, rt)
		}
	}
	l.theirs.to(theirsLeaving)
	c.dropRoutes(drop)
	l.resetAllLocked(func(*bulkOut) bool { return true })
	if more = from+dropStep < len(l.routes); !more {
		then()
	}
	l.mu.Unlock()
	c.tidyAll(drop)
	return more
}

// gotRoutesDone knows that the last message is back that was sent to a consumer
// of the peer's that has closed; 0 stands for all of a peer that leaves.
func (l *link) gotRoutesDone(num uint64) {
	over := []*route{l.route(num)}
	if num == 0 {
		over = slices.Clone(l.routes)
	}
	l.rings.releaseKeys(over)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rt := range over {
		l.routeOverLocked(rt)
	}
}
