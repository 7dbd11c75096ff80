package model

// encode writes all of a state that may differ in two states of one configuration.
func (x *mesh) encode(s *meshState, b []byte) []byte {
	for i := range x.nodes {
		b = append(b, s.node[i], s.keyLast[i])
		if ch := s.chosen[i]; x.out.has(oneSection) {
			b = append(b, ch.on, ch.message, ch.node, ch.number, ch.consumer, ch.link)
		}
		for _, w := range s.wait[i] {
			b = append(append(b, byte(len(w))), w...)
		}
	}
	for i := range x.nodes * (x.nodes - 1) / 2 {
		b = x.encodePair(&s.pairs[i], b)
	}
	for c := range x.consumers {
		b = x.encodeConsumer(&s.consumer[c], b)
	}
	for m := range x.messages {
		w := &s.message[m]
		b = append(b, w.state, w.hops, bits(w.back, w.asks), w.backFrom, w.pending, w.pendingLink, w.ended, w.asked, byte(w.left), w.handled, w.handledBy, w.sequence)
	}
	b = append(b, s.breaks, s.crashes, s.relinks, s.forced, s.unknown)
	return append(b, s.broken...)
}

func (x *mesh) encodePair(p *pair, b []byte) []byte {
	b = append(b, bits(p.alive), p.closed, p.number)
	for side := range p.ends {
		b = encodeFrames(p.queue[side], b)
		e := &p.ends[side]
		b = append(b, e.state, bits(e.mustSayLeaving, e.saidLeaving, e.leavingOK, e.peerLeaves, e.saidGoodbye, e.heardGoodbye), e.highest, e.done)
		for _, rt := range e.routes {
			if b = append(b, rt.state); rt.state != noRoute {
				b = append(b, rt.consumer, byte(rt.balance), byte(rt.out), bits(rt.over))
			}
		}
		b = append(b, e.owed[:len(x.consumers)]...)
		b = encodeFrames(e.unacked, b)
	}
	return b
}

func encodeFrames(q []frame, b []byte) []byte {
	b = append(b, byte(len(q)))
	for _, f := range q {
		b = append(b, f.kind, f.message, f.number, f.n, f.of, bits(f.flag))
	}
	return b
}

func (x *mesh) encodeConsumer(cn *consumer, b []byte) []byte {
	b = append(b, cn.state, cn.number, bits(cn.busy), byte(cn.knows), byte(len(cn.mailbox)))
	for _, en := range append([]entry{cn.handles}, cn.mailbox...) {
		b = append(b, en.message, en.hops, en.from, en.link)
	}
	b = append(b, cn.told[:x.nodes]...)
	b = append(b, cn.last[:x.nodes]...)
	for _, last := range cn.lastBack[:len(x.consumers)] {
		b = append(b, last[:x.nodes]...)
	}
	return b
}

func bits(bs ...bool) (set byte) {
	for i, b := range bs {
		if b {
			set |= 1 << i
		}
	}
	return set
}
