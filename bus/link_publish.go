package bus

import "github.com/runrig-go/runrig/bus/internal/frame"

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
	routes := r.routes.Load().audience(l) // the peer's routes change under writer.mu, which is held
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

// stall marks the routes without room, for which a publish has waited in vain. The caller
// holds writer.mu.
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
// holds writer.mu.
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

// laggards encodes the numbers of the routes that have no room. The caller holds writer.mu.
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
// caller holds writer.mu.
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
