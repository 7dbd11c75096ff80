package model

// proof is a node and a host on which one boot after another lives at one address: the
// host may lose power at any time, with what it has sent under way, and comes back
// with the next boot. The node links with whom it has proof of (H5).
type proof struct {
	boots, dials, hellos uint8
	out                  breaches
}

const maxBoots = 4

// proofDial is a dial of the node's.
type proofDial struct {
	began   uint8 // the proofs that there were
	welcome uint8 // which boot has answered; 0: none has
}

type proofState struct {
	boot     uint8 // which lives
	link     uint8 // with which boot the node has a link; 0: none
	replaced uint8 // boots that are dead, as the node knows
	proofs   uint8
	proven   [maxBoots + 1]uint8 // by boot: the number of its last proof
	dials    []proofDial
	hellos   []uint8 // under way to the node
	dialled  uint8
	called   uint8
	broken   string
}

func (p *proof) start() *proofState { return &proofState{boot: 1} }

func (p *proof) wrong(s *proofState) string { return s.broken }

func (p *proof) next(s *proofState, step func(label, *proofState)) {
	do := func(l label, f func(*proofState)) {
		n := *s
		f(&n)
		step(l, &n)
	}
	if s.boot < p.boots {
		do(fault("boot %d dies, and boot %d lives", s.boot, s.boot+1), func(s *proofState) { s.boot++ })
	}
	if s.called < p.hellos && s.link != s.boot {
		do(does("boot %d dials", s.boot), func(s *proofState) {
			s.called++
			s.hellos = push(s.hellos, s.boot)
		})
	}
	if len(s.hellos) > 0 {
		do(does("the node reads the HELLO of boot %d", s.hellos[0]), func(s *proofState) {
			boot := s.hellos[0]
			s.hellos = remove(s.hellos, 0)
			p.hello(s, boot)
		})
	}
	if s.link != 0 && s.link != s.boot {
		do(does("the node finds its link with boot %d broken", s.link), func(s *proofState) { s.link = 0 })
	}
	p.nextOfDials(s, do)
}

func (p *proof) nextOfDials(s *proofState, do func(label, func(*proofState))) {
	if s.dialled < p.dials && s.link == 0 {
		do(does("the node dials"), func(s *proofState) {
			s.dialled++
			s.dials = push(s.dials, proofDial{began: s.proofs})
		})
	}
	for k, d := range s.dials {
		if d.welcome == 0 {
			do(does("boot %d answers", s.boot), func(s *proofState) {
				s.dials = append([]proofDial(nil), s.dials...)
				s.dials[k].welcome = s.boot
			})
			continue
		}
		do(does("the node reads the WELCOME of boot %d", d.welcome), func(s *proofState) {
			s.dials = remove(s.dials, k)
			p.welcome(s, d)
		})
	}
}

// hello takes a HELLO as proof, unless its boot is known to be dead.
func (p *proof) hello(s *proofState, boot uint8) {
	if s.replaced>>boot&1 == 0 {
		p.lives(s, boot)
	}
}

// welcome takes a WELCOME as proof, unless another boot has been proven to live there
// since the dial began.
func (p *proof) welcome(s *proofState, d proofDial) {
	for boot, at := range s.proven {
		if uint8(boot) != d.welcome && at > d.began && !p.out.has(proofsNumbered) {
			return
		}
	}
	if s.link == s.boot && d.welcome != s.boot {
		s.broken = "a link with the boot that lives is taken down for a dead one"
	}
	p.lives(s, d.welcome)
}

// lives notes a proof: of the boots that are known the others are dead.
func (p *proof) lives(s *proofState, boot uint8) {
	s.proofs++
	s.proven[boot] = s.proofs
	for other, at := range s.proven {
		if at > 0 && uint8(other) != boot {
			s.replaced |= 1 << other
		}
	}
	s.replaced &^= 1 << boot
	s.link = boot
}

// end is a good one if the node has a link with the boot that lives, or has used up its
// dials.
func (p *proof) end(s *proofState) string {
	if s.link != s.boot && s.dialled < p.dials {
		return "the node has no link with the boot that lives"
	}
	return ""
}

func (p *proof) encode(s *proofState, b []byte) []byte {
	b = append(b, s.boot, s.link, s.replaced, s.proofs, s.dialled, s.called)
	b = append(b, s.proven[:]...)
	b = append(append(b, byte(len(s.hellos))), s.hellos...)
	for _, d := range s.dials {
		b = append(b, d.began, d.welcome)
	}
	return append(b, s.broken...)
}
