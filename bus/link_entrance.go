package bus

import "slices"

// entrance is the rings whose messages wait to be appended to a link, in turn.
// While some wait no other ring's messages go past them, however many senders it has,
// and each appends as much in its turn as there is room for. It is guarded by link.mu.
type entrance struct {
	rings []*home // that wait for room, the one whose turn is next first
	turn  *home   // that appends now, in its turn; nil: none does
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

// hasRoom reports whether the outbox has room for another message or reply.
func (l *link) hasRoom() bool { return l.backlog() < l.pace.limit }

// mayAppendLocked reports whether a message of a ring may be appended now: there is room,
// no other ring is ahead of this one, and, if it is large, another large body may begin.
func (l *link) mayAppendLocked(r *home, large bool) bool {
	e := &l.entrance
	return l.hasRoom() && (len(e.rings) == 0 || e.turn == r) && (!large || l.bulks.takesBulk())
}

// queueRingLocked has a ring wait until a message of it may be appended: it is granted
// then, in its turn.
func (l *link) queueRingLocked(r *home, large bool) {
	e := &l.entrance
	if !large || l.bulks.takesBulk() {
		e.wait(r)
	} else if !slices.Contains(e.large, r) {
		e.large = append(e.large, r)
	}
}

// grantTurnsLocked gives the rings that wait their turns, one after the other, as long as
// there is room. It lets go of the lock during each turn. Only the goroutine that has made
// writer.state writeRunning calls it.
func (l *link) grantTurnsLocked() {
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

// admitWaitingLocked lets in the rings, replies and questions that wait for room, once half
// of the room is free, and the rings that wait for a large body to end. It unpins the
// consumers in l.freed. It lets go of the lock, to wake and to unpin, and takes it again.
func (l *link) admitWaitingLocked() {
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
		l.grantTurnsLocked()
	}
	l.placeLargeLocked() // kept replies, if no large message has taken the place meanwhile
}
