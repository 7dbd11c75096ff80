package model

// nextOfLeaving goes on with a leave.
func (x *mesh) nextOfLeaving(s *meshState, i int, do doing) {
	switch {
	case s.node[i] == running && x.leaver.has(i):
		do(does("n%d begins to leave", i), func(s *meshState) { x.leave(s, i) })
	case s.node[i] == leaving && x.quiet(s, i):
		do(does("n%d: nothing is under way, GOODBYE on all links", i), func(s *meshState) { x.goodbye(s, i) })
	case s.node[i] == leaving && s.forced > 0:
		do(fault("n%d: the drain time is over, GOODBYE on all links", i), func(s *meshState) { s.forced--; x.goodbye(s, i) })
	}
}

// leave closes all consumers. LEAVING, in place of their removals, is written link by
// link.
func (x *mesh) leave(s *meshState, i int) {
	s.node[i] = leaving
	for c := range x.consumersOf(i) {
		if s.consumer[c].state == live {
			x.closeConsumer(s, c, i, true)
		}
	}
	for j := range x.others(i) {
		if e := s.end(i, j); e.state == linkUp {
			e.mustSayLeaving = true
		}
	}
}

func (x *mesh) writeLeaving(s *meshState, i, j int) {
	e := s.end(i, j)
	e.mustSayLeaving, e.saidLeaving = false, true
	x.write(s, i, j, frame{kind: frameLeaving})
	for c := range x.consumersOf(i) {
		cn := &s.consumer[c]
		if cn.state != closing {
			continue
		}
		switch cn.told[j] {
		case added, known, toRemove:
			cn.told[j] = removed
		}
		x.sendAllBack(s, c, i, j)
	}
}

// readLeaving answers a node that leaves: from here on it gets no MSG. Credit is not
// batched any more (rule 12).
func (x *mesh) readLeaving(s *meshState, i, j int) {
	e := s.end(i, j)
	e.peerLeaves = true
	for n := range e.routes {
		x.removeRoute(&e.routes[n])
	}
	if !e.saidGoodbye {
		x.write(s, i, j, frame{kind: frameLeavingOK})
		x.writeCredit(s, i, j)
	}
}

// readLeavingOK knows that no MSG comes on the link any more.
func (x *mesh) readLeavingOK(s *meshState, i, j int) {
	s.end(i, j).leavingOK = true
	x.write(s, i, j, frame{kind: frameRoutesDone, flag: true})
	for c := range x.consumersOf(i) {
		if s.consumer[c].told[j] == removed {
			s.consumer[c].told[j] = forgotten
			x.freeNumberOf(s, c, i)
		}
	}
}

// quiet reports whether nothing is under way at a node that leaves, over all links at
// once (leaving 3).
func (x *mesh) quiet(s *meshState, i int) bool {
	for c := range x.consumersOf(i) {
		if cn := &s.consumer[c]; cn.busy || len(cn.mailbox) > 0 && cn.state != freed {
			return false
		}
	}
	if s.chosen[i].on != 0 || !x.out.has(goodbyeWhenSettled) && x.waits(s, i) {
		return false
	}
	for m := range x.messages {
		if x.underWay(s, i, m) {
			return false
		}
	}
	for j := range x.others(i) {
		if !x.linkQuiet(s, i, j) {
			return false
		}
	}
	return true
}

func (x *mesh) waits(s *meshState, i int) bool {
	for a := range s.wait[i] {
		if len(s.wait[i][a]) > 0 {
			return true
		}
	}
	return false
}

// underWay reports whether a node has a publish, a request or a question to end.
func (x *mesh) underWay(s *meshState, i, m int) bool {
	mc, w := x.messages[m], &s.message[m]
	if mc.kind == kindQuestion && int(w.asked) == i+1 {
		return !x.out.has(goodbyeWhenAnswered)
	}
	if int(mc.from) != i {
		return false
	}
	if mc.kind == kindPublish {
		return w.state == published && w.left != 0
	}
	return mc.ends() && w.state == placed && w.pending != 0 && w.ended == notEnded
}

func (x *mesh) linkQuiet(s *meshState, i, j int) bool {
	e := s.end(i, j)
	switch {
	case e.state == linkDown:
		return true
	case e.state == linkDialled, e.mustSayLeaving:
		return false
	case !e.leavingOK && !x.out.has(goodbyeWhenOK):
		return false
	}
	for _, rt := range e.routes {
		if rt.out > 0 && !x.out.has(goodbyeWhenSettled) {
			return false
		}
	}
	for c := range x.consumersOf(i) {
		if e.owed[c] > 0 && !x.out.has(creditBeforeGoodbye) {
			return false
		}
	}
	return true
}

// goodbye says GOODBYE on all links and takes no call any more, in one step (leaving 4).
func (x *mesh) goodbye(s *meshState, i int) {
	s.node[i] = finished
	for c := range x.consumersOf(i) {
		s.consumer[c].busy, s.consumer[c].mailbox = false, nil
	}
	for a := range s.wait[i] {
		for _, m := range s.wait[i][a] {
			s.message[m].state = dead
		}
		s.wait[i][a] = nil
	}
	for m, mc := range x.messages {
		w := &s.message[m]
		if int(mc.from) != i {
			continue
		}
		w.left = 0
		if mc.ends() && w.ended == notEnded && (w.state == placed || w.state == dead) {
			x.endRequest(s, m, gaveUp)
		}
	}
	for j := range x.others(i) {
		if s.end(i, j).state == linkUp {
			x.sayGoodbye(s, i, j)
		}
	}
	x.goneIfAlone(s, i)
}

// sayGoodbye writes GOODBYE and half-closes; then the node reads to the end of stream.
func (x *mesh) sayGoodbye(s *meshState, i, j int) {
	x.write(s, i, j, frame{kind: frameGoodbye})
	x.write(s, i, j, frame{kind: frameEnd})
	s.end(i, j).saidGoodbye = true
	if !x.out.has(readToTheEnd) {
		return
	}
	at, side := place(i, j)
	p := &s.pairs[at]
	if len(p.queue[1-side]) > 0 && s.end(j, i).state != linkDown { // a reset, as input is unread
		p.queue[side], p.alive = nil, false
	}
	p.closed |= 1 << side
	x.down(s, i, j, p.alive)
}

func (x *mesh) readGoodbye(s *meshState, i, j int) {
	e := s.end(i, j)
	if e.saidGoodbye { // both have: read on to the end of stream
		e.heardGoodbye = true
		return
	}
	for _, rt := range e.routes {
		if rt.out > 0 && x.graceful {
			s.fail("GOODBYE comes while %d messages to its node are unsettled", rt.out)
			return
		}
	}
	x.write(s, i, j, frame{kind: frameEnd})
	e.saidGoodbye = true
	x.down(s, i, j, true)
}

func (x *mesh) readEnd(s *meshState, i, j int) {
	e := s.end(i, j)
	if !e.saidGoodbye && x.graceful {
		s.fail("the stream ends without GOODBYE")
		return
	}
	x.down(s, i, j, e.saidGoodbye)
}

// readHandover waits with a message for a node that leaves.
func (x *mesh) readHandover(s *meshState, i int, f frame) {
	if s.node[i] >= finished {
		if s.message[f.message].state = dead; x.forced == 0 {
			s.fail("a HANDOVER comes after the own GOODBYE")
		}
		return
	}
	x.waitAgain(s, i, int(f.message))
}
