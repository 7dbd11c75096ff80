package model

// next takes each step that may come next.
func (x *mesh) next(s *meshState, step func(label, *meshState)) {
	do := func(l label, f func(*meshState)) {
		n := *s
		if f(&n); n.broken == "" {
			x.check(&n)
		}
		step(l, &n)
	}
	for i := range x.nodes {
		if s.isUp(i) {
			x.nextOfNode(s, i, do)
		}
		x.nextOfReaders(s, i, do)
		for j := range x.others(i) {
			x.nextOfWorld(s, i, j, do)
		}
	}
}

type doing func(label, func(*meshState))

func (x *mesh) nextOfNode(s *meshState, i int, do doing) {
	x.nextOfProgram(s, i, do)
	x.nextOfWaiting(s, i, do)
	x.nextOfPublishes(s, i, do)
	x.nextOfQuestions(s, i, do)
	for c := range x.consumersOf(i) {
		x.nextOfConsumer(s, c, i, do)
	}
	for j := range x.others(i) {
		if s.end(i, j).state == linkUp {
			x.nextOfWriter(s, i, j, do)
		}
	}
	x.nextOfLeaving(s, i, do)
	if x.cancel {
		x.nextOfCallers(s, i, do)
	}
}

// nextOfProgram has a program send its next message, once there is a consumer.
func (x *mesh) nextOfProgram(s *meshState, i int, do doing) {
	if s.node[i] != running {
		return
	}
	for m, mc := range x.messages {
		switch {
		case int(mc.from) != i || mc.by >= 0:
			continue
		case s.message[m].state == published && s.message[m].left != 0:
			return // it has not returned
		case s.message[m].state != unsent:
			continue
		case mc.kind == kindPublish && x.sendWaits(s, i, mc.address):
			return
		}
		if x.hasRoute(s, i, mc.address) {
			do(does("n%d sends m%d (%s to address %d)", i, m, kindNames[mc.kind], mc.address), func(s *meshState) { x.send(s, i, m) })
		}
		return
	}
}

var kindNames = []string{"a send", "a request", "a publish", "a question"}

// sendWaits reports whether a call has not returned, as its message waits.
func (x *mesh) sendWaits(s *meshState, i int, address uint8) bool {
	for _, m := range s.wait[i][address] {
		if !s.message[m].back {
			return true
		}
	}
	return false
}

// nextOfCallers has callers of requests and questions give up.
func (x *mesh) nextOfCallers(s *meshState, i int, do doing) {
	for m, mc := range x.messages {
		w := &s.message[m]
		if int(mc.from) != i || !mc.ends() || w.state != placed || w.ended != notEnded || w.pending == 0 {
			continue
		}
		do(fault("n%d: the caller of m%d gives up", i, m), func(s *meshState) {
			w := &s.message[m]
			j := int(w.pending) - 1
			x.endRequest(s, m, gaveUp)
			if j != i {
				x.write(s, i, j, frame{kind: frameCancel, message: uint8(m), n: w.hops})
			}
		})
	}
}

func (mc messageConfig) ends() bool { return mc.kind == kindRequest || mc.kind == kindQuestion }

func (x *mesh) nextOfReaders(s *meshState, i int, do doing) {
	if s.node[i] >= gone {
		return
	}
	for j := range x.others(i) {
		if s.end(i, j).state != linkUp {
			continue
		}
		at, side := place(j, i)
		q := s.pairs[at].queue[side]
		read := func(h int, what string) {
			do(does(what, i, j, q[h]), func(s *meshState) {
				s.pairs[at].queue[side] = remove(q, h)
				x.read(s, i, j, q[h])
			})
		}
		if len(q) > 0 {
			read(0, "n%d reads from n%d: %v")
		}
		if h := x.overtaker(q); h > 0 {
			read(h, "n%d reads from n%d, as it went first: %v")
		}
		if !s.pairs[at].alive {
			do(does("n%d notices that the link with n%d is broken", i, j), func(s *meshState) { x.down(s, i, j, false) })
		}
	}
}

// nextOfConsumer runs handlers, and registers and closes consumers.
func (x *mesh) nextOfConsumer(s *meshState, c, i int, do doing) {
	cn, cc := &s.consumer[c], x.consumers[c]
	if cn.state == live && !cn.busy && len(cn.mailbox) > 0 {
		do(does("c%d of n%d begins with m%d", c, i, cn.mailbox[0].message), func(s *meshState) { x.begin(s, c, i) })
	}
	if cn.busy && !x.blocked(s, cn) {
		do(does("c%d of n%d has handled m%d", c, i, cn.handles.message), func(s *meshState) { x.finish(s, c, i) })
	}
	if s.node[i] != running {
		return
	}
	may := cc.after < 0 || s.consumer[max(0, cc.after)].state >= closing
	if n := x.freeNumber(s, i); cn.state == unborn && cc.later && may && n < maxNumbers {
		do(does("n%d: c%d is registered as #%d", i, c, n), func(s *meshState) { x.register(s, c, i) })
	}
	if cn.state == live && cc.closes {
		do(does("n%d: c%d (#%d) closes", i, c, cn.number), func(s *meshState) { x.closeConsumer(s, c, i, false) })
	}
}

// nextOfWriter writes what a node may write later than it could.
func (x *mesh) nextOfWriter(s *meshState, i, j int, do doing) {
	e := s.end(i, j)
	if x.slow && x.hasRoutes(s, i, j) {
		do(does("n%d writes its changed routes to n%d", i, j), func(s *meshState) { x.writeRoutes(s, i, j) })
	}
	owed := uint8(0)
	for c := range x.consumersOf(i) {
		owed += e.owed[c]
	}
	if x.lazy && owed > 0 && (owed > 1 || !x.out.has(creditAtOnce)) {
		do(does("n%d writes the credit that it owes n%d", i, j), func(s *meshState) { x.writeCredit(s, i, j) })
	}
	if e.mustSayLeaving {
		do(does("n%d writes LEAVING to n%d", i, j), func(s *meshState) { x.writeLeaving(s, i, j) })
	}
}

// nextOfWorld is what becomes of connections and nodes.
func (x *mesh) nextOfWorld(s *meshState, i, j int, do doing) {
	p := s.pair(i, j)
	if i < j && s.breaks > 0 && p.alive {
		do(fault("the connection of n%d and n%d breaks", i, j), func(s *meshState) { s.breaks--; s.pair(i, j).alive = false })
	}
	if s.relinks > 0 && s.isUp(i) && s.end(i, j).state == linkDown && s.node[j] < finished && !p.alive && x.takesLinks(s, i) && x.takesLinks(s, j) {
		do(does("n%d dials n%d, which accepts", i, j), func(s *meshState) { x.dial(s, i, j) })
	}
	if s.end(i, j).state == linkDialled && s.node[i] < gone {
		do(does("n%d reads WELCOME of n%d", i, j), func(s *meshState) { x.welcomed(s, i, j) })
	}
	if x.restart && s.node[i] == finished && s.end(i, j).state == linkUp && s.end(j, i).state == linkUp {
		do(fault("n%d is started again, and its HELLO comes to n%d", i, j), func(s *meshState) { x.succeeded(s, i, j) })
	}
	if first := (i + 1) % x.nodes; j == first && s.crashes > 0 && s.isUp(i) && !x.leaver.has(i) {
		do(fault("n%d crashes", i), func(s *meshState) { x.crash(s, i) })
	}
}

// takesLinks reports whether a node takes links, as one does that leaves (leaving 1).
func (x *mesh) takesLinks(s *meshState, i int) bool {
	return s.node[i] == running || s.node[i] == leaving && !x.out.has(leaverTakesLinks)
}
