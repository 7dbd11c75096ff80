package model

// read handles a frame that i reads from j.
func (x *mesh) read(s *meshState, i, j int, f frame) {
	e := s.end(i, j)
	if e.heardGoodbye && f.kind != frameEnd && f.kind != frameCredit {
		s.fail("%s comes after GOODBYE", frameNames[f.kind])
		return
	}
	switch f.kind {
	case frameMsg:
		x.readMsg(s, i, j, f)
	case frameReply:
		x.readReply(s, i, j, f)
	case frameBounce:
		x.readBounce(s, i, j, f)
	case frameCredit:
		x.readCredit(s, i, j, f)
	case frameRoutes:
		x.readRoutes(s, i, j, f)
	case frameRoutesAck:
		x.readRoutesAck(s, i, j)
	case frameRoutesDone:
		x.readRoutesDone(s, i, j, f)
	case frameCancel:
		x.readCancel(s, i, j, f)
	case frameHandover:
		x.readHandover(s, i, f)
	case frameLeaving:
		x.readLeaving(s, i, j)
	case frameLeavingOK:
		x.readLeavingOK(s, i, j)
	case frameGoodbye:
		x.readGoodbye(s, i, j)
	case frameEnd:
		x.readEnd(s, i, j)
	}
}

// down ends i's end of the link with j. What is unsettled is unknown, requests end, and
// what came on the link and waits is dropped (rule 2). The peer reads on if reads says
// so.
func (x *mesh) down(s *meshState, i, j int, reads bool) {
	at, side := place(i, j)
	p := &s.pairs[at]
	for _, rt := range p.ends[side].routes {
		s.unknown += uint8(max(0, rt.out))
	}
	x.endRequestsOf(s, i, j)
	p.ends[side] = end{}
	p.queue[1-side] = nil
	if !reads || p.ends[1-side].state == linkDown {
		p.alive = false
	}
	if p.ends[1-side].state == linkDown {
		p.queue[side] = nil
	}
	for c := range x.consumersOf(i) {
		x.forgetLink(s, c, i, j)
	}
	if ch := s.chosen[i]; ch.on != 0 && int(ch.node) == j {
		s.chosen[i] = choice{}
		s.message[ch.message].state = waiting
		a := x.messages[ch.message].address
		s.wait[i][a] = insert(s.wait[i][a], 0, ch.message)
	}
	if s.node[i] == finished {
		x.goneIfAlone(s, i)
	}
}

// endRequestsOf ends the requests and questions that are pending on a link, and forgets
// those questions that came on it.
func (x *mesh) endRequestsOf(s *meshState, i, j int) {
	for m, mc := range x.messages {
		w := &s.message[m]
		if mc.ends() && int(mc.from) == i && w.state == placed && w.ended == notEnded && int(w.pending) == j+1 {
			x.endRequest(s, m, linkLost)
		}
		if mc.kind == kindQuestion && int(w.asked) == i+1 && int(mc.from) == j {
			w.asked = 0
		}
	}
}

// forgetLink has a consumer forget a link that has ended.
func (x *mesh) forgetLink(s *meshState, c, i, j int) {
	cn := &s.consumer[c]
	cn.told[j] = untold
	cn.knows &^= nodes(j)
	if !x.out.has(droppedWithLink) {
		var keep []entry
		for _, en := range cn.mailbox {
			if int(en.from) != j {
				keep = append(keep, en)
			}
		}
		cn.mailbox = keep
	}
	if cn.state == closing {
		x.sendAllBack(s, c, i, j)
		x.freeNumberOf(s, c, i)
	}
}

func (x *mesh) goneIfAlone(s *meshState, i int) {
	for j := range x.others(i) {
		if s.end(i, j).state != linkDown {
			return
		}
	}
	s.node[i] = gone
}

// up begins i's end of a link: its whole set first, and then LEAVING if it leaves
// (leaving 1).
func (x *mesh) up(s *meshState, i, j int) {
	s.end(i, j).state = linkUp
	for c := range x.consumersOf(i) {
		if s.consumer[c].state == live {
			s.consumer[c].told[j] = toAdd
		}
	}
	if s.node[i] == leaving {
		x.writeLeaving(s, i, j)
		return
	}
	x.writeRoutes(s, i, j)
}

// dial has j accept a dial of i's: its end of the link that was there goes down before
// the new one comes up (H6).
func (x *mesh) dial(s *meshState, i, j int) {
	s.relinks--
	if s.end(j, i).state != linkDown && !x.out.has(downBeforeUp) {
		x.down(s, j, i, false)
	}
	p := s.pair(i, j)
	p.alive, p.queue = true, [2][]frame{}
	p.number++
	s.end(i, j).state = linkDialled
	x.up(s, j, i)
}

func (x *mesh) welcomed(s *meshState, i, j int) {
	s.end(i, j).state = linkUp
	if s.node[i] == finished {
		x.down(s, i, j, false)
		return
	}
	x.up(s, i, j)
}

// succeeded has a node that has left, and closed its end after a second, be started
// again: its HELLO comes to j while that has not read the old link to its end. That is
// read to its end all the same (H5).
func (x *mesh) succeeded(s *meshState, i, j int) {
	if x.out.has(oldLinkReadOut) {
		for _, rt := range s.end(j, i).routes {
			if rt.out > 0 && x.graceful {
				s.fail("the successor's HELLO cuts off what the old link holds of %d messages", rt.out)
			}
		}
		x.down(s, j, i, false)
	}
	x.down(s, i, j, true)
}

func (x *mesh) crash(s *meshState, i int) {
	s.crashes--
	s.node[i] = crashed
	for j := range x.others(i) {
		if s.end(i, j).state != linkDown {
			x.down(s, i, j, false)
		}
	}
	for a := range s.wait[i] {
		s.wait[i][a] = nil
	}
	for c := range x.consumersOf(i) {
		cn := &s.consumer[c]
		*cn = consumer{state: freed, number: cn.number, last: cn.last, lastBack: cn.lastBack}
	}
}
