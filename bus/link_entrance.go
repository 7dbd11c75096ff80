package bus

import "slices"

// entrance is the rings whose messages wait to be appended to a link, in turn.
// While some wait no other ring's messages go past them, however many senders it has,
// and each appends as much in its turn as there is room for. It is guarded by link.mu.
type entrance struct {
	rings []*home // that wait for room, the next in turn first
	turn  *home   // that appends now
	large []*home // that wait for a large body to end
}

// wait lets a ring wait for its turn.
func (e *entrance) wait(r *home) {
	if !slices.Contains(e.rings, r) {
		e.rings = append(e.rings, r)
	}
}

// bulkEnded lets the rings wait for their turn that waited for a large body to end.
func (e *entrance) bulkEnded() {
	for _, r := range e.large {
		e.wait(r)
	}
	e.large = nil
}

// end returns all rings that wait, and forgets them.
func (e *entrance) end() []*home {
	e.bulkEnded()
	rings := e.rings
	e.rings = nil
	return rings
}

// hasRoom reports whether a call may append, or has to wait.
func (l *link) hasRoom() bool { return l.backlog() < l.pace.limit }

// admitsLocked reports whether a message of a ring may be appended. If not, the ring
// is granted what it may when its turn comes.
func (l *link) admitsLocked(r *home, large bool) bool {
	e := &l.entrance
	if l.hasRoom() && (len(e.rings) == 0 || e.turn == r) && (!large || l.bulks.takesBulk()) {
		return true
	}
	l.stalls++
	l.blockLocked(r, large)
	return false
}

// blockLocked lets a ring wait until a message of it may be appended.
func (l *link) blockLocked(r *home, large bool) {
	e := &l.entrance
	if !large || l.bulks.takesBulk() {
		e.wait(r)
	} else if !slices.Contains(e.large, r) {
		e.large = append(e.large, r)
	}
}

// admitLocked lets rings in that wait, each in its turn, as long as there is room. It
// lets go of the lock for each. Only the goroutine that has made state writeRunning
// calls it.
func (l *link) admitLocked() {
	e := &l.entrance
	for len(e.rings) > 0 && l.hasRoom() && l.err == nil {
		e.turn = e.rings[0]
		e.rings = slices.Delete(e.rings, 0, 1)
		l.mu.Unlock()
		e.turn.grant()
		l.mu.Lock()
	}
	e.turn = nil
}

// letIn lets in the rings, replies and questions that wait for room, once there is
// enough of it, and those that wait for a large body to end. It lets go of the lock.
func (l *link) letIn() {
	l.placeLocked()
	room := l.backlog() <= l.pace.limit/2
	if room {
		l.stalled = false
	}
	ended := l.freed != nil || l.bulks.ended
	if !ended && !(room && (len(l.entrance.rings) > 0 || l.room != nil)) {
		return
	}
	waiting, freed := l.room, l.freed
	l.room, l.freed = nil, nil
	if l.bulks.ended {
		l.bulks.ended = false
		l.entrance.bulkEnded()
	}
	l.mu.Unlock()
	for _, c := range waiting {
		close(c)
	}
	l.owner.unpin(freed...)
	l.leave.recheck()
	l.mu.Lock()
	if room {
		l.admitLocked()
	}
	l.placeLargeLocked() // for which no message has taken the place
}
