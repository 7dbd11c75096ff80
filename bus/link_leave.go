package bus

import "github.com/runrig-go/runrig/bus/internal/frame"

// leaveLocked (leaving 1) writes LEAVING, which takes all consumers back at once: no change
// of routes follows. What came on the link and waited goes back behind it. It appends
// consumers to free that closed before, and with which the link has nothing more to do.
// The caller holds core.mu.
func (l *link) leaveLocked(waited []*Message, free []*Consumer) []*Consumer {
	switch {
	case l.err != nil:
		for _, m := range waited {
			m.inbound().cutOff(1)
		}
		return free
	case l.inbounds.ours >= oursLeaving:
		return free
	}
	if l.inbounds.ours < oursUp { // the set ends here
		l.announcer.dirty = nil
		l.announcer.fill()
	}
	l.inbounds.ours = oursLeaving
	l.inbounds.eager.Store(true)
	l.frameLocked(frame.Leaving, &frame.Head{})
	l.announcer.dirty = nil
	l.inbounds.bounces.holdLocked(waited)
	for _, in := range l.inbounds.byNumber {
		switch {
		case in == nil || in.stage == inFreed:
			continue
		case in.stage == inNew:
			l.inbounds.forgetLocked(in)
			continue
		case in.stage < inRemoving:
			in.consumer.pins++
		}
		in.stage = max(in.stage, inRetracted)
		l.inbounds.bounces.sendHeldLocked(in, nil)
	}
	free = l.inbounds.dues.payAllLocked(free)
	l.wakeLocked()
	return free
}

// gotLeaving (leaving 2) answers a peer that leaves: from here on it gets no message.
func (l *link) gotLeaving() {
	l.parting.Store(true)
	l.inbounds.eager.Store(true)
	l.routes.dropAll(func() {
		l.frameLocked(frame.LeavingOK, &frame.Head{})
		l.leavesAt = l.clock.now()
	})
	l.inbounds.dues.payAll() // wakes the writer too
	l.routes.linked.fire()
	l.log.Debug("peer leaves", "peer", l.peer.String())
}

// gotLeavingOK knows that no message will come on the link any more.
func (l *link) gotLeavingOK() {
	l.mu.Lock()
	var free []*Consumer
	if l.inbounds.ours >= oursLeaving {
		l.inbounds.ours.to(oursLeft)
		for _, in := range l.inbounds.byNumber {
			if in != nil {
				free = l.inbounds.goneLocked(in, free)
			}
		}
		l.inbounds.bounces.endLocked(nil)
		l.wakeLocked()
	}
	l.mu.Unlock()
	l.owner.unpin(free...)
	l.leave.recheck()
}
