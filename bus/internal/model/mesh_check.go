package model

import "fmt"

// check looks at what must be true in each state.
func (x *mesh) check(s *meshState) {
	for c, cc := range x.consumers {
		for j := range x.others(int(cc.node)) {
			var n int8
			for _, en := range s.consumer[c].mailbox {
				if int(en.from) == j {
					n++
				}
			}
			if n > x.window {
				s.fail("a consumer has %d messages of a node whose window is %d", n, x.window)
			}
		}
	}
	for i := range x.nodes {
		for j := range x.others(i) {
			if p := s.pair(i, j); p.alive && p.ends[0].open() && p.ends[1].open() {
				x.checkKnown(s, i, j)
				x.checkCredit(s, i, j)
			}
		}
	}
}

func (e *end) open() bool { return e.state == linkUp && !e.saidGoodbye }

// checkKnown: a consumer that is known can be routed to (rule 9).
func (x *mesh) checkKnown(s *meshState, i, j int) {
	for c := range x.consumersOf(j) {
		cn := &s.consumer[c]
		if cn.state != live || cn.told[i] != known {
			continue
		}
		if rt := s.end(i, j).routes[cn.number]; rt.state != liveRoute || int(rt.consumer) != c {
			s.fail("a consumer is known that its peer cannot route to")
		}
	}
}

// checkCredit: what is unsettled at the sender is on its way or at the receiver.
func (x *mesh) checkCredit(s *meshState, i, j int) {
	for _, rt := range s.end(i, j).routes {
		if rt.state == noRoute {
			continue
		}
		c := int(rt.consumer)
		switch n := x.underWayTo(s, i, j, c); {
		case rt.balance+rt.out != x.window:
			s.fail("balance and unsettled are not the window")
		case rt.balance < 0:
			s.fail("a message was written without credit")
		case n != rt.out:
			s.fail("%d messages are unsettled at the sender, and %d under way", rt.out, n)
		}
	}
}

// underWayTo returns how many messages of i are on their way to consumer c at j, there,
// or on their way back.
func (x *mesh) underWayTo(s *meshState, i, j, c int) (n int8) {
	at, side := place(i, j)
	p := &s.pairs[at]
	for _, f := range p.queue[side] {
		if f.kind != frameMsg {
			continue
		}
		if publish := x.messages[f.message].kind == kindPublish; publish && f.of>>c&1 != 0 || !publish && int(f.of) == c {
			n++
		}
	}
	for _, f := range p.queue[1-side] {
		switch {
		case int(f.of) != c:
		case f.kind == frameBounce:
			n++
		case f.kind == frameCredit:
			n += int8(f.n)
		}
	}
	cn := &s.consumer[c]
	for _, en := range cn.mailbox {
		if int(en.from) == i && en.link == p.number {
			n++
		}
	}
	if cn.busy && int(cn.handles.from) == i && cn.handles.link == p.number {
		n++
	}
	return n + int8(p.ends[1-side].owed[c])
}

// checkHandling looks at a handler that begins with a message.
func (x *mesh) checkHandling(s *meshState, c int, en entry) {
	cn, w, mc := &s.consumer[c], &s.message[en.message], x.messages[en.message]
	switch {
	case x.consumers[c].address != mc.address:
		s.fail("misdelivery: a handler gets a message for another address")
	case mc.kind != kindPublish && x.consumers[c].hears:
		s.fail("a consumer that hears publishes only handles another message")
	case mc.kind == kindPublish && w.handledBy>>c&1 != 0:
		s.fail("a consumer handles a publish twice")
	case mc.kind != kindPublish && w.handled > 1:
		s.fail("a message is handled twice")
	}
	switch last := &cn.last[mc.from]; {
	case x.keyed:
		if s.keyLast[mc.from] > w.sequence {
			s.fail("of one key, a message is begun after a later one")
		}
		s.keyLast[mc.from] = w.sequence
	case !w.back:
		if *last > w.sequence {
			s.fail("a message is handled after a later one")
		}
		*last = w.sequence
	case w.hops == 1: // those of a second closing are in the order of that mailbox
		last := &cn.lastBack[w.backFrom-1][mc.from]
		if *last > w.sequence {
			s.fail("of those that one consumer sent back, a message is handled after a later one")
		}
		*last = w.sequence
	}
}

// checkStrayReply looks at the reply to a request of an earlier link, where ids of
// that link are used again.
func (x *mesh) checkStrayReply(s *meshState, i, j int) {
	for m, mc := range x.messages {
		if w := &s.message[m]; int(w.pending) == j+1 && w.ended == notEnded && int(mc.from) == i {
			s.fail("the reply to a request of an earlier link answers another one")
		}
	}
}

// end looks at an end.
func (x *mesh) end(s *meshState) string {
	for i := range x.nodes {
		if x.leaver.has(i) && s.node[i] < gone {
			return fmt.Sprintf("the leave of n%d does not end", i)
		}
	}
	for m := range x.messages {
		if what := x.endOfMessage(s, m); what != "" {
			return what
		}
	}
	for i := range x.nodes {
		for j := range x.others(i) {
			for _, rt := range s.end(i, j).routes {
				if rt.out != 0 && s.end(i, j).state == linkUp && s.isUp(i) && s.isUp(j) {
					return "a message stays unsettled"
				}
			}
		}
	}
	for c, cc := range x.consumers {
		if s.consumer[c].state == closing && s.node[cc.node] == running {
			return "a number is not freed"
		}
	}
	if x.graceful && s.unknown > 0 {
		return "messages are unknown though nothing broke"
	}
	return ""
}

func (x *mesh) endOfMessage(s *meshState, m int) string {
	mc, w := x.messages[m], &s.message[m]
	switch {
	case w.state == unsent || w.state == refused || s.node[mc.from] == crashed:
	case mc.ends() && w.ended == notEnded:
		return "a request does not end"
	case w.state == waiting:
		return "a message waits for ever"
	case !x.graceful || mc.kind == kindPublish:
	case mc.kind == kindQuestion:
		if w.ended != answered {
			return "a question is not answered though nothing broke"
		}
	case !x.stays(mc.address):
	case w.handled != 1:
		return "a message is lost though nothing broke"
	case mc.kind == kindRequest && w.ended != answered:
		return "a request fails though nothing broke"
	}
	return ""
}

// stays reports whether an address has a consumer that neither closes nor leaves.
func (x *mesh) stays(address uint8) bool {
	for _, cc := range x.consumers {
		if cc.address == address && !cc.closes && !x.leaver.has(int(cc.node)) {
			return true
		}
	}
	return false
}
