package model

// nextOfReceiver closes the consumer of #0 and gives the number to another, sends back
// what has come for it, and takes in the body from elsewhere.
func (b *bulk) nextOfReceiver(s *bulkState, do bulkDoing) {
	if b.closes && !s.closed && s.owner == 0 {
		do(does("R: the consumer of #0 closes"), func(s *bulkState) {
			s.closed = true
			s.write(fromR, bulkFrame{kind: bulkRemoves})
			s.returns, s.mailbox = s.mailbox, nil
		})
	}
	if !b.closes && len(s.mailbox) > 0 {
		do(does("R: the consumer of #0 handles m%d", s.mailbox[0]), func(s *bulkState) {
			m := s.mailbox[0]
			s.mailbox = remove(s.mailbox, 0)
			b.handle(s, m)
		})
	}
	if b.again && s.closed && s.acked && len(s.returns) == 0 && !b.comesTo(s, 0) {
		do(does("R: #0 is another consumer's"), func(s *bulkState) {
			s.closed, s.acked, s.owner = false, false, 1
			s.write(fromR, bulkFrame{kind: bulkAdds})
		})
	}
	b.nextOfReturns(s, do)
	b.nextOfElsewhere(s, do)
}

// comesTo reports whether a body is on its way that was announced for a number, which
// is unsettled.
func (b *bulk) comesTo(s *bulkState, number uint8) bool {
	for _, in := range s.in {
		if in.id != 0 && in.number == number {
			return true
		}
	}
	return false
}

// nextOfReturns sends back, in order, what has come for a consumer that has closed: a
// large message in chunks, which those behind it wait for (rule 24).
func (b *bulk) nextOfReturns(s *bulkState, do bulkDoing) {
	o := s.sending
	switch {
	case len(s.returns) == 0:
	case o.id == 0 && !b.large[s.returns[0]]:
		b.nextOfSmallReturn(s, 0, do)
	case o.id == 0:
		do(does("R announces that m%d comes back", s.returns[0]), func(s *bulkState) {
			m := s.returns[0]
			s.nextID++
			s.sending = bodyOut{id: s.nextID, message: m}
			s.write(fromR, bulkFrame{kind: bulkBegin, id: s.nextID, message: m})
		})
	case o.sent < o.granted:
		do(does("R writes a chunk of m%d, which comes back", o.message), func(s *bulkState) {
			s.sending.sent++
			s.write(fromR, bulkFrame{kind: bulkChunk, id: o.id, message: o.message, n: s.sending.sent})
			if s.sending.sent == bulkChunks {
				s.sending = bodyOut{}
				s.returns = remove(s.returns, 0)
				b.doneIfBack(s)
			}
		})
	}
	if b.out.has(bouncesWait) && o.id != 0 && len(s.returns) > 1 && !b.large[s.returns[1]] {
		b.nextOfSmallReturn(s, 1, do)
	}
}

func (b *bulk) nextOfSmallReturn(s *bulkState, k int, do bulkDoing) {
	do(does("R sends m%d back", s.returns[k]), func(s *bulkState) {
		s.write(fromR, bulkFrame{kind: bulkBounce, message: s.returns[k]})
		s.returns = remove(s.returns, k)
		b.doneIfBack(s)
	})
}

// doneIfBack says that nothing comes back any more, once the removal is acknowledged and
// the last bounce is wholly written (rule 24).
func (b *bulk) doneIfBack(s *bulkState) {
	if s.closed && s.acked && (len(s.returns) == 0 || b.out.has(doneWaitsForBodies)) {
		s.write(fromR, bulkFrame{kind: bulkDone})
	}
}

// nextOfElsewhere is the body that comes over another link.
func (b *bulk) nextOfElsewhere(s *bulkState, do bulkDoing) {
	if s.asks {
		do(does("R: a body from elsewhere asks for memory"), func(s *bulkState) {
			s.asks = false
			s.in = push(s.in, bodyIn{})
			b.grant(s)
		})
	}
	for k, in := range s.in {
		if in.id == 0 && in.come < in.held {
			do(does("R: a chunk comes from elsewhere"), func(s *bulkState) { b.came(s, k) })
		}
	}
}

// readAtR handles what S has written.
func (b *bulk) readAtR(s *bulkState, f bulkFrame) {
	switch f.kind {
	case bulkMsg:
		b.arrived(s, bodyIn{message: f.message, number: f.number, owner: f.owner})
	case bulkBegin:
		if len(s.in)-b.fromElsewhere(s) >= bulksAhead {
			s.fail("a third body is announced")
			return
		}
		s.in = push(s.in, bodyIn{f.id, f.message, f.number, f.owner, 0, 0, false})
		b.grant(s)
	case bulkChunk:
		b.readChunk(s, f)
	case bulkReset:
		for k, in := range s.in {
			if in.id == f.id {
				s.in = remove(s.in, k)
				b.grant(s)
				return
			}
		}
	case bulkRoutesAck:
		s.acked = true
		b.doneIfBack(s)
	case bulkGo:
		s.sending.granted = bulkChunks
	}
}

func (b *bulk) fromElsewhere(s *bulkState) (n int) {
	for _, in := range s.in {
		if in.id == 0 {
			n++
		}
	}
	return n
}

func (b *bulk) readChunk(s *bulkState, f bulkFrame) {
	for k, in := range s.in {
		switch {
		case in.id != f.id:
		case in.come >= in.held && !in.over:
			s.fail("a chunk comes for which there is no memory")
			return
		default:
			b.came(s, k)
			return
		}
	}
	s.fail("a chunk comes of a body that is not announced")
}

// came notes that a chunk has come. A body that is whole gives its memory back.
func (b *bulk) came(s *bulkState, k int) {
	s.in = append([]bodyIn(nil), s.in...)
	in := &s.in[k]
	in.come++
	if whole := *in; whole.come == bulkChunks {
		switch s.in = remove(s.in, k); {
		case whole.over:
			s.expired |= 1 << whole.message
		case whole.id != 0:
			b.arrived(s, whole)
		}
	}
	b.grant(s)
}

// arrived gives a message to the consumer that its number was, when it was announced
// (rule 22).
func (b *bulk) arrived(s *bulkState, in bodyIn) {
	if s.ordered[in.number] > in.message+1 && s.back>>in.message&1 == 0 {
		s.fail("a message comes after a later one")
	}
	if s.back>>in.message&1 == 0 {
		s.ordered[in.number] = in.message + 1
	}
	switch {
	case in.number > 0:
		b.handle(s, in.message)
	case in.owner != s.owner:
		s.fail("misdelivery: a message comes to the next consumer of its number")
	case s.closed && s.acked:
		s.fail("a message is whole after the ROUTES_ACK of its route's removal")
	case s.closed:
		s.returns = push(s.returns, in.message)
	case s.owner == 0:
		s.mailbox = push(s.mailbox, in.message)
	default:
		b.handle(s, in.message)
	}
}

func (b *bulk) handle(s *bulkState, m uint8) {
	switch {
	case s.handled>>m&1 != 0:
		s.fail("a message is handled twice")
	case s.expired>>m&1 != 0:
		s.fail("a message is handled that was taken back")
	}
	s.handled |= 1 << m
}

// grant gives out memory, in order of age, a chunk at a time, as long as what is left
// suffices for all bodies one after the other.
func (b *bulk) grant(s *bulkState) {
	s.in = append([]bodyIn(nil), s.in...)
	for k := range s.in {
		in := &s.in[k]
		if in.over || in.held > in.come || in.held == bulkChunks || b.free(s) == 0 {
			continue
		}
		in.held++
		if !b.suffices(s) && !b.out.has(memorySuffices) {
			in.held--
			continue
		}
		if in.id != 0 {
			s.write(fromR, bulkFrame{kind: bulkGo, id: in.id})
		}
	}
}

func (b *bulk) free(s *bulkState) int8 {
	free := b.memory
	for _, in := range s.in {
		free -= int8(in.held)
	}
	return free
}

// suffices reports whether the memory that is left does for all bodies that come, one
// after the other, in order of age.
func (b *bulk) suffices(s *bulkState) bool {
	left := b.free(s)
	for _, in := range s.in {
		if in.over {
			continue
		}
		if left < int8(bulkChunks-in.held) {
			return false
		}
		left += int8(in.held)
	}
	return true
}
