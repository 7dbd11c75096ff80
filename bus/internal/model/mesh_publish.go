package model

// nextOfPublishes goes on with a node's publishes, from link to link in turn. A publish
// does not wait here: a consumer without room is skipped.
func (x *mesh) nextOfPublishes(s *meshState, i int, do doing) {
	for m, mc := range x.messages {
		w := &s.message[m]
		if int(mc.from) != i || w.state != published {
			continue
		}
		for j := range x.nodes {
			if w.left.has(j) {
				do(does("n%d publishes m%d to n%d", i, m, j), func(s *meshState) { x.publishTo(s, i, m, j) })
				break
			}
		}
	}
}

func (x *mesh) publishTo(s *meshState, i, m, j int) {
	s.message[m].left &^= nodes(j)
	if j == i {
		x.publishLocal(s, i, m)
		return
	}
	e := s.end(i, j)
	if e.state != linkUp || e.saidGoodbye {
		return
	}
	var skipped, to uint8
	first := -1
	for n := range x.routesTo(s, i, j, x.messages[m].address) {
		rt := &e.routes[n]
		if rt.balance <= 0 {
			skipped |= 1 << rt.consumer
			continue
		}
		rt.balance--
		rt.out++
		to |= 1 << rt.consumer
		if first < 0 {
			first = n
		}
	}
	if first >= 0 {
		x.write(s, i, j, frame{frameMsg, uint8(m), uint8(first), skipped, to, false})
	}
}

func (x *mesh) publishLocal(s *meshState, i, m int) {
	for c := range x.consumersOf(i) {
		if x.consumers[c].address == x.messages[m].address && s.consumer[c].state == live && x.localOut(s, i, c) < x.window {
			s.consumer[c].mailbox = push(s.consumer[c].mailbox, entry{uint8(m), 0, uint8(i), 0})
		}
	}
}

// readPublish fans a publish out to the routes whose addition the sender had
// acknowledged, less those that it skipped (rule 14).
func (x *mesh) readPublish(s *meshState, i, j, first int, f frame) {
	en := entry{f.message, 0, uint8(j), s.pair(i, j).number}
	if x.consumers[first].address != x.messages[f.message].address {
		s.fail("a publish is given to consumers of another address")
	}
	for c := range x.consumersOf(i) {
		cn := &s.consumer[c]
		if x.consumers[c].address != x.consumers[first].address || f.n>>c&1 != 0 {
			continue
		}
		acked := cn.knows.has(j) || x.out.has(fanOutToAll)
		switch told := cn.told[j]; {
		case cn.state == live && (told == known || x.out.has(fanOutToAll)):
			cn.mailbox = push(cn.mailbox, en)
		case cn.state == closing && told == toRemove && acked:
			cn.mailbox = push(cn.mailbox, en)
		case cn.state == closing && told == removed && (acked || x.out.has(fanOutToTombstones)):
			x.sendBack(s, c, i, en)
		}
	}
}
