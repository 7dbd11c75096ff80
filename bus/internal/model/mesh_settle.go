package model

// current reports whether the link is still up on which a message came to i.
func (s *meshState) current(i int, en entry) bool {
	j := int(en.from)
	return j == i || s.end(i, j).state == linkUp && s.pair(i, j).number == en.link
}

// sendAllBack sends back what consumer c has from node j and has not begun with.
func (x *mesh) sendAllBack(s *meshState, c, i, j int) {
	cn := &s.consumer[c]
	var keep []entry
	for _, en := range cn.mailbox {
		if int(en.from) != j {
			keep = append(keep, en)
			continue
		}
		x.sendBack(s, c, i, en)
	}
	cn.mailbox = keep
	if cn.busy && int(cn.handles.from) == j && x.out.has(handledStays) {
		x.sendBack(s, c, i, cn.handles)
	}
}

// sendBack settles a message that its consumer will not handle (rule 2).
func (x *mesh) sendBack(s *meshState, c, i int, en entry) {
	j := int(en.from)
	switch {
	case !s.current(i, en):
	case x.messages[en.message].kind == kindPublish:
		if j != i && !x.out.has(droppedSettled) {
			x.owe(s, c, i, j)
		}
	case j == i:
		x.takeBack(s, i, int(en.message), c)
	default:
		x.write(s, i, j, frame{frameBounce, en.message, s.consumer[c].number, en.hops, uint8(c), false})
		if x.out.has(settledOnce) {
			x.owe(s, c, i, j)
		}
	}
}

// owe notes that a message is settled; its credit is written now or later (rule 12).
func (x *mesh) owe(s *meshState, c, i, j int) {
	e := s.end(i, j)
	if e.state != linkUp {
		return
	}
	e.owed[c]++
	if !x.lazy {
		x.writeCredit(s, i, j)
	}
}

func (x *mesh) writeCredit(s *meshState, i, j int) {
	e := s.end(i, j)
	for c := range x.consumersOf(i) {
		if e.owed[c] > 0 {
			x.write(s, i, j, frame{kind: frameCredit, number: s.consumer[c].number, n: e.owed[c], of: uint8(c)})
			e.owed[c] = 0
			x.freeNumberOf(s, c, i)
		}
	}
}

func (x *mesh) readCredit(s *meshState, i, j int, f frame) {
	switch rt := &s.end(i, j).routes[f.number]; {
	case rt.state != noRoute && rt.consumer == f.of:
		x.settle(s, rt, int8(f.n))
	case rt.state == liveRoute:
		s.fail("credit of a consumer is given to the next one of its number")
	case !x.out.has(recordKept):
		s.fail("credit for a route without a record")
	}
}

func (x *mesh) settle(s *meshState, rt *route, n int8) {
	rt.out -= n
	rt.balance += n
	if rt.out < 0 || rt.balance > x.window {
		s.fail("more is settled than was sent: the balance is %d of %d", rt.balance, x.window)
		return
	}
	x.forgetRoute(rt)
}

// readMsg takes a message in, or sends it back if its consumer has closed.
func (x *mesh) readMsg(s *meshState, i, j int, f frame) {
	e := s.end(i, j)
	if e.leavingOK {
		s.fail("a MSG comes after LEAVING_OK")
		return
	}
	if e.saidGoodbye {
		if x.forced == 0 {
			s.fail("a MSG comes after the own GOODBYE")
		}
		return
	}
	c := x.consumerAt(s, i, f.number)
	switch {
	case c < 0:
		s.fail("a MSG for a number that is neither live nor a tombstone")
	case x.messages[f.message].kind == kindPublish:
		x.readPublish(s, i, j, c, f)
	case c != int(f.of):
		s.fail("misdelivery: a message for c%d comes to c%d, which has its number", f.of, c)
	default:
		x.takeIn(s, c, i, entry{f.message, f.n, uint8(j), s.pair(i, j).number})
	}
}

// consumerAt returns the consumer of a number, a live one rather than a tombstone.
func (x *mesh) consumerAt(s *meshState, i int, number uint8) int {
	at := -1
	for c := range x.consumersOf(i) {
		cn := &s.consumer[c]
		if cn.number == number && (cn.state == live || cn.state == closing && at < 0) {
			at = c
		}
	}
	return at
}

func (x *mesh) takeIn(s *meshState, c, i int, en entry) {
	cn := &s.consumer[c]
	if cn.state == closing {
		switch told := cn.told[en.from]; {
		case told == forgotten || told == untold:
			s.fail("a MSG comes after the ROUTES_ACK of its route's removal")
			return
		case told == removed || x.out.has(removalFirst):
			x.sendBack(s, c, i, en)
			return
		}
	}
	cn.mailbox = push(cn.mailbox, en)
}

// readBounce takes a message back.
func (x *mesh) readBounce(s *meshState, i, j int, f frame) {
	e := s.end(i, j)
	rt := &e.routes[f.number]
	switch {
	case e.saidGoodbye:
		if x.forced == 0 {
			s.fail("a BOUNCE comes after the own GOODBYE")
		}
		return
	case e.done>>f.of&1 != 0:
		s.fail("a BOUNCE comes after its ROUTES_DONE")
		return
	case rt.state == liveRoute:
		s.fail("a BOUNCE comes of a route that is live at its sender")
		return
	case rt.state == noRoute && x.out.has(recordKept):
		x.takeBack(s, i, int(f.message), int(f.of))
		return
	case rt.state == noRoute || rt.consumer != f.of:
		s.fail("a BOUNCE settles on another consumer's route")
		return
	}
	if s.message[f.message].hops == f.n {
		x.takeBack(s, i, int(f.message), int(f.of))
	}
	x.settle(s, rt, 1)
}

// readCancel takes a request out of its consumer's mailbox, which settles it.
func (x *mesh) readCancel(s *meshState, i, j int, f frame) {
	if w := &s.message[f.message]; x.messages[f.message].kind == kindQuestion {
		w.asked = 0
		return
	}
	for c := range x.consumersOf(i) {
		for k, en := range s.consumer[c].mailbox {
			if en != (entry{f.message, f.n, uint8(j), s.pair(i, j).number}) {
				continue
			}
			s.consumer[c].mailbox = remove(s.consumer[c].mailbox, k)
			if !x.out.has(droppedSettled) {
				x.owe(s, c, i, j)
			}
			x.freeNumberOf(s, c, i)
			return
		}
	}
}
