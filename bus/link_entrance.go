package bus

import "slices"

// entrance is the rings whose messages wait to be appended to a link, in turn.
// While some wait no other ring's messages go past them, however many senders it has,
// and each appends as much in its turn as there is room for. It is guarded by writer.mu.
type entrance struct {
	*writer
	rings []*home // that wait for room, the one whose turn is next first
	turn  *home   // that appends now, in its turn; nil: none does
	large []*home // that wait for a large body to end
	took  bool    // turn has begun a large body

	stalls uint64 // how often a ring began to wait
}

// wait lets a ring wait for its turn.
func (e *entrance) wait(r *home) {
	if !slices.Contains(e.rings, r) {
		e.rings = append(e.rings, r)
	}
}

// waitLarge lets a ring wait for a large body to end.
func (e *entrance) waitLarge(r *home) {
	if !slices.Contains(e.large, r) {
		e.large = append(e.large, r)
	}
}

// bulkEnded gives the next turns to the rings that waited for a large body to end, in
// the order in which they began to wait, ahead of the ring whose body it was.
func (e *entrance) bulkEnded() {
	first := e.large
	e.large = nil
	for _, r := range e.rings {
		if !slices.Contains(first, r) {
			first = append(first, r)
		}
	}
	e.rings = first
}

// end returns all rings that wait, and forgets them.
func (e *entrance) end() []*home {
	e.bulkEnded()
	rings := e.rings
	e.rings = nil
	return rings
}

// mayAppendLocked reports whether a message of a ring may be appended now: there is room,
// no other ring is ahead of this one, and, if it is large, another large body may begin.
func (e *entrance) mayAppendLocked(r *home, large bool) bool {
	return e.hasRoom() && (len(e.rings) == 0 || e.turn == r) && (!large || e.bulks.takesBulk())
}

// mayPublishLocked reports whether a publish may be appended now. It does not wait for a
// turn, as its ring cannot keep it for one, but leaves some room for the rings that do.
func (e *entrance) mayPublishLocked(large bool) bool {
	room := e.pace.limit
	if len(e.rings) > 0 {
		room -= room / 4
	}
	return e.backlog() < room && (!large || e.bulks.takesBulk())
}

// queueRingLocked has a ring wait until a message of it may be appended: it is granted
// then, in its turn.
func (e *entrance) queueRingLocked(r *home, large bool) {
	waiting := len(e.rings) + len(e.large)
	if !large || e.bulks.takesBulk() {
		e.wait(r)
	} else {
		e.waitLarge(r)
	}
	if len(e.rings)+len(e.large) > waiting {
		e.stalls++
	}
}

// grantTurnsLocked gives the rings that wait their turns, one after the other, as long as
// there is room: only one turn if most of the room is taken. It lets go of the lock during
// each turn. Only the goroutine that has made writer.state writeRunning calls it.
func (e *entrance) grantTurnsLocked(one bool) {
	var served []*home // which have begun a large body, and wait to begin another behind the others
	for turns := 0; len(e.rings) > 0 && e.hasRoom() && e.err == nil && !(one && turns > 0); turns++ {
		e.turn, e.took = e.rings[0], false
		e.rings = slices.Delete(e.rings, 0, 1)
		e.mu.Unlock()
		e.turn.grant()
		e.mu.Lock()
		if i := slices.Index(e.large, e.turn); e.took && i >= 0 {
			e.large = slices.Delete(e.large, i, i+1)
			served = append(served, e.turn)
		}
	}
	e.turn = nil
	for _, r := range served {
		e.waitLarge(r)
	}
}

// admitWaitingLocked lets in the rings that wait for room, the replies and questions that
// do once half of the room is free, and all that wait for a large body to end. It unpins
// the consumers in inbounds.freed. It lets go of the lock, to wake and to unpin, and takes it again.
func (l *link) admitWaitingLocked() {
	l.replies.placeLocked()
	room := l.backlog() <= l.pace.limit/2
	if room {
		l.stalled = false
	}
	ended := l.inbounds.freed != nil || l.bulks.ended
	turns := len(l.entrance.rings) > 0 && l.hasRoom()
	if !ended && !turns && !(room && l.replies.room != nil) {
		return
	}
	var waiting []chan struct{}
	if room || ended {
		waiting, l.replies.room = l.replies.room, nil
	}
	freed := l.inbounds.freed
	l.inbounds.freed = nil
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
	l.entrance.grantTurnsLocked(!room)
	l.replies.placeLargeLocked() // kept replies, if no large message has taken the place meanwhile
}
