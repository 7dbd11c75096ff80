package model

// begin has a consumer begin with the first message of its mailbox.
func (x *mesh) begin(s *meshState, c, i int) {
	cn := &s.consumer[c]
	en := cn.mailbox[0]
	cn.mailbox, cn.busy, cn.handles = remove(cn.mailbox, 0), true, en
	w := &s.message[en.message]
	w.handled++
	x.checkHandling(s, c, en)
	w.handledBy |= 1 << c
	for t, mc := range x.messages {
		if mc.by != int(en.message) || s.message[t].state != unsent {
			continue
		}
		switch {
		case int(mc.from) != i:
			s.message[t].state = refused
		case mc.kind == kindQuestion:
			x.ask(s, i, t, en)
		case x.hasRoute(s, i, mc.address):
			x.send(s, i, t)
		default:
			s.message[t].state = refused
		}
	}
}

// blocked reports whether a handler waits for the end of what it has sent.
func (x *mesh) blocked(s *meshState, cn *consumer) bool {
	for m, mc := range x.messages {
		w := &s.message[m]
		if mc.by == int(cn.handles.message) && mc.awaits && w.state != refused && w.ended == notEnded {
			return true
		}
	}
	return false
}

// finish ends a handler: it replies, on the link of the request or nowhere (rule 15),
// and the message is settled.
func (x *mesh) finish(s *meshState, c, i int) {
	cn := &s.consumer[c]
	en := cn.handles
	cn.busy, cn.handles = false, entry{}
	j, request := int(en.from), x.messages[en.message].kind == kindRequest
	w := &s.message[en.message]
	if j == i {
		if request && int(w.pending) == i+1 && w.hops == en.hops && w.ended == notEnded {
			x.endRequest(s, int(en.message), answered)
		}
		x.freeNumberOf(s, c, i)
		return
	}
	current, up := s.current(i, en), s.end(i, j).state == linkUp
	if request && !w.asks && (current || up && x.out.has(replyOnItsLink)) {
		x.write(s, i, j, frame{kind: frameReply, message: en.message, number: en.link, n: en.hops})
	}
	if current || up && x.out.has(creditOnItsLink) {
		x.owe(s, c, i, j)
	}
	x.freeNumberOf(s, c, i)
}

// ask answers the request that a handler has by a question (rule 16).
func (x *mesh) ask(s *meshState, i, question int, en entry) {
	j := int(en.from)
	q := &s.message[question]
	if j == i || !s.current(i, en) {
		q.state = refused
		return
	}
	q.state, q.pending, q.pendingLink = placed, uint8(j+1), en.link
	s.message[en.message].asks = true
	x.write(s, i, j, frame{frameReply, en.message, en.link, en.hops, uint8(question + 1), false})
}

// nextOfQuestions has the one who was asked answer.
func (x *mesh) nextOfQuestions(s *meshState, i int, do doing) {
	for m, mc := range x.messages {
		if mc.kind == kindQuestion && int(s.message[m].asked) == i+1 {
			do(does("n%d answers m%d", i, m), func(s *meshState) { x.answer(s, i, m, false) })
		}
	}
}

func (x *mesh) answer(s *meshState, i, question int, failed bool) {
	q := &s.message[question]
	q.asked = 0
	x.write(s, i, int(x.messages[question].from), frame{kind: frameReply, message: uint8(question), number: q.pendingLink, flag: failed})
}

// readReply ends a request. One that asks, where nobody waits for it any more, is
// answered at once.
func (x *mesh) readReply(s *meshState, i, j int, f frame) {
	p := s.pair(i, j)
	w, mc := &s.message[f.message], x.messages[f.message]
	if x.out.has(replyOnItsLink) && f.number != p.number {
		x.checkStrayReply(s, i, j)
		return
	}
	waits := int(w.pending) == j+1 && w.pendingLink == p.number && w.ended == notEnded &&
		(mc.kind == kindQuestion || w.hops == f.n || x.out.has(replyOnItsLink))
	how := answered
	if f.flag {
		how = unanswered
	}
	if waits {
		x.endRequest(s, int(f.message), how)
	}
	if f.of == 0 {
		return
	}
	q := &s.message[f.of-1]
	q.asked = uint8(i + 1)
	if !waits && !x.out.has(unansweredAtOnce) {
		x.answer(s, i, int(f.of-1), true)
	} else if !waits {
		q.asked = 0
	}
}

func (x *mesh) endRequest(s *meshState, m int, how uint8) {
	w := &s.message[m]
	if w.ended != notEnded {
		s.fail("a request ends twice")
		return
	}
	w.ended, w.pending = how, 0
}
