package model

// nextOfSender has S write its next message, or the next chunk of a body.
func (b *bulk) nextOfSender(s *bulkState, do bulkDoing) {
	if len(s.todo) > 0 {
		b.nextOfMessage(s, s.todo[0], do)
	}
	for k, o := range s.bodies {
		if o.sent >= o.granted {
			continue
		}
		do(does("S writes a chunk of m%d", o.message), func(s *bulkState) {
			s.write(fromS, bulkFrame{kind: bulkChunk, id: o.id})
			s.bodies = append([]bodyOut(nil), s.bodies...)
			if s.bodies[k].sent++; s.bodies[k].sent == bulkChunks && !b.out.has(takenBackInTime) {
				s.bodies = remove(s.bodies, k)
			}
		})
	}
}

// nextOfMessage gives a message to a route, unless a large body is on its way there
// (rule 7).
func (b *bulk) nextOfMessage(s *bulkState, m uint8, do bulkDoing) {
	large := b.large[m]
	if large && (len(s.bodies) >= bulksAhead && !b.out.has(twoBodies) || s.nextID >= maxBulks) {
		return
	}
	for number := range b.others + 1 {
		if number == 0 && s.route == 0 || s.isBusy(number) && !b.out.has(othersWait) {
			continue
		}
		owner := uint8(0)
		if number == 0 {
			owner = s.route - 1
		}
		do(does("S writes m%d to #%d, large: %v", m, number, large), func(s *bulkState) {
			s.todo = remove(s.todo, 0)
			if !large {
				s.write(fromS, bulkFrame{bulkMsg, 0, m, number, owner, 0})
				return
			}
			s.nextID++
			s.bodies = push(s.bodies, bodyOut{s.nextID, m, number, owner, 0, 0})
			s.write(fromS, bulkFrame{bulkBegin, s.nextID, m, number, owner, 0})
		})
	}
}

// isBusy reports whether a large body is on its way to a route.
func (s *bulkState) isBusy(number uint8) bool {
	for _, o := range s.bodies {
		if o.number == number {
			return true
		}
	}
	return false
}

// takeBack has S take a body back (rule 23). If it is not over, it is sent again.
func (b *bulk) takeBack(s *bulkState, k int, over bool) {
	o := s.bodies[k]
	s.bodies = remove(s.bodies, k)
	s.write(fromS, bulkFrame{kind: bulkReset, id: o.id})
	if !over {
		s.sendAgain(o.message)
	}
}

func (s *bulkState) sendAgain(m uint8) {
	s.back |= 1 << m
	s.todo = insert(s.todo, 0, m)
}

// readAtS handles what R has written.
func (b *bulk) readAtS(s *bulkState, f bulkFrame) {
	switch f.kind {
	case bulkGo:
		b.granted(s, f)
	case bulkRefused:
		for k, o := range s.bodies {
			if o.id == f.id && o.sent < bulkChunks {
				s.expired |= 1 << o.message
				b.takeBack(s, k, true)
				return
			}
		}
	case bulkRemoves:
		s.route = 0
		for k := len(s.bodies) - 1; k >= 0; k-- {
			if o := s.bodies[k]; o.number == 0 && o.sent < bulkChunks && !b.out.has(resetBeforeAck) {
				b.takeBack(s, k, false)
			}
		}
		s.write(fromS, bulkFrame{kind: bulkRoutesAck})
	case bulkAdds:
		s.route = 2
	case bulkBegin: // S has memory for all that comes back
		s.write(fromS, bulkFrame{kind: bulkGo, id: f.id})
	case bulkChunk:
		if f.n == bulkChunks {
			b.cameBack(s, f.message)
		}
	case bulkBounce:
		b.cameBack(s, f.message)
	case bulkDone:
		s.done = true
	}
}

// granted notes that more of a body may be written. If it does not say of which one, the
// first that waits is meant.
func (b *bulk) granted(s *bulkState, f bulkFrame) {
	s.bodies = append([]bodyOut(nil), s.bodies...)
	for k := range s.bodies {
		o := &s.bodies[k]
		if o.id == f.id && !b.out.has(bodyNamed) || o.granted < bulkChunks && b.out.has(bodyNamed) {
			o.granted = min(o.granted+1, bulkChunks)
			return
		}
	}
}

func (b *bulk) cameBack(s *bulkState, m uint8) {
	switch {
	case s.done:
		s.fail("a BOUNCE is complete after its ROUTES_DONE")
	case s.lastBack > m+1 && s.back>>m&1 == 0:
		s.fail("what was sent later comes back first")
	}
	if s.back>>m&1 == 0 {
		s.lastBack = m + 1
	}
	s.sendAgain(m)
}
