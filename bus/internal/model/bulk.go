package model

import "fmt"

// bulk is large bodies on one link. S sends messages, large and small ones, to consumers
// of R's: number 0, which closes, and may be another's then, and others.
// A body has two chunks, and R gives out memory for one chunk at a time, of a budget
// that it shares with a body from elsewhere. S has memory for all that comes back.
type bulk struct {
	bulkConfig
	out breaches
}

type bulkConfig struct {
	large  []bool // the messages, in order
	memory int8   // in chunks
	others uint8  // consumers that stay
	lates  uint8  // how often a deadline may come, at S or at R
	closes bool   // number 0 does
	again  bool   // and is then another's
}

const (
	bulkChunks = 2
	bulksAhead = 2
	maxBulks   = 6 // that are ever announced, of both ends
)

const (
	bulkMsg uint8 = 1 + iota // small
	bulkBegin
	bulkChunk
	bulkReset
	bulkRoutesAck
	bulkGo
	bulkRefused
	bulkRemoves
	bulkAdds
	bulkBounce // small
	bulkDone
)

var bulkNames = []string{"", "MSG", "BULK", "CHUNK", "BULK_RESET", "ROUTES_ACK", "BULK_GO", "BULK_RESET(refused)", "ROUTES(removes #0)", "ROUTES(adds #0)", "BOUNCE", "ROUTES_DONE"}

// bulkFrame is a frame. Of number 0 owner tells whose it was when it was chosen, which
// no rule reads. BULK stands for a MSG, from S, or a BOUNCE, from R.
type bulkFrame struct{ kind, id, message, number, owner, n uint8 }

func (f bulkFrame) String() string {
	switch f.kind {
	case bulkMsg:
		return fmt.Sprintf("MSG(m%d to #%d)", f.message, f.number)
	case bulkBegin:
		return fmt.Sprintf("BULK(%d of m%d, #%d)", f.id, f.message, f.number)
	case bulkBounce:
		return fmt.Sprintf("BOUNCE(m%d)", f.message)
	case bulkChunk, bulkReset, bulkRefused, bulkGo:
		return fmt.Sprintf("%s(%d)", bulkNames[f.kind], f.id)
	}
	return bulkNames[f.kind]
}

// goesFirst reports whether a frame goes before all in order that is not written.
func (f bulkFrame) goesFirst() bool {
	return f.kind == bulkGo || f.kind == bulkRefused || f.kind == bulkRemoves || f.kind == bulkAdds
}

// bodyOut is a body on its way out.
type bodyOut struct{ id, message, number, owner, sent, granted uint8 }

// bodyIn is a body that comes, or, at R, one from elsewhere: id 0.
type bodyIn struct {
	id, message, number, owner, come, held uint8
	over                                   bool // it is thrown away: what still comes of it is skipped
}

type bulkState struct {
	queue   [2][]bulkFrame // from S, from R
	todo    []uint8        // messages that S has
	back    uint8          // those of them, and others, that it has had back
	bodies  []bodyOut      // from S
	route   uint8          // #0 at S: 0 is none, else whose it is, and one
	expired uint8          // messages
	nextID  uint8

	in       []bodyIn // at R, in order of age
	owner    uint8    // of #0
	closed   bool
	acked    bool
	mailbox  []uint8 // of #0, whose consumer is busy until it closes
	returns  []uint8 // what it sends back, the first of which is on its way if
	sending  bodyOut // this has an id
	asks     bool    // the body from elsewhere is not complete
	done     bool    // ghost: ROUTES_DONE is read
	handled  uint8
	ordered  [3]uint8 // ghost: by number, the latest message that came, and one
	lastBack uint8    // ghost: the latest that came back, and one
	lates    uint8

	broken string
}

func (s *bulkState) fail(what string) {
	if s.broken == "" {
		s.broken = what
	}
}

func (b *bulk) start() *bulkState {
	s := &bulkState{route: 1, lates: b.lates, asks: true}
	for m := range b.large {
		s.todo = append(s.todo, uint8(m))
	}
	return s
}

func (b *bulk) wrong(s *bulkState) string { return s.broken }

const (
	fromS = 0
	fromR = 1
)

func (s *bulkState) write(from int, f bulkFrame) { s.queue[from] = push(s.queue[from], f) }

func (b *bulk) next(s *bulkState, step func(label, *bulkState)) {
	do := func(l label, f func(*bulkState)) {
		n := *s
		f(&n)
		step(l, &n)
	}
	b.nextOfSender(s, do)
	b.nextOfReceiver(s, do)
	for from := range s.queue {
		b.nextOfReader(s, from, do)
	}
	if s.lates > 0 {
		b.nextOfDeadlines(s, do)
	}
}

type bulkDoing func(label, func(*bulkState))

func (b *bulk) nextOfReader(s *bulkState, from int, do bulkDoing) {
	q := s.queue[from]
	read := func(h int, what string) {
		do(does(what, "SR"[1-from:][:1], q[h]), func(s *bulkState) {
			s.queue[from] = remove(q, h)
			if from == fromS {
				b.readAtR(s, q[h])
			} else {
				b.readAtS(s, q[h])
			}
		})
	}
	if len(q) > 0 {
		read(0, "%s reads %v")
	}
	returns := false
	for h, f := range q {
		if f.goesFirst() {
			if h > 0 && !(f.kind == bulkAdds && returns) { // rule 3
				read(h, "%s reads, as it went first, %v")
			}
			return
		}
		returns = returns || f.kind == bulkBounce || f.kind == bulkDone || f.kind == bulkChunk || f.kind == bulkReset
	}
}

// nextOfDeadlines has the deadline of one body come, at S, which takes it back, or at
// R, which throws it away.
func (b *bulk) nextOfDeadlines(s *bulkState, do bulkDoing) {
	for k, o := range s.bodies {
		if o.sent < bulkChunks || b.out.has(takenBackInTime) {
			do(fault("S: the deadline of m%d comes", o.message), func(s *bulkState) {
				s.lates--
				s.expired |= 1 << o.message
				b.takeBack(s, k, true)
			})
		}
	}
	for k, in := range s.in {
		if in.id != 0 && !in.over {
			do(fault("R throws m%d away", in.message), func(s *bulkState) {
				s.lates--
				s.in = append([]bodyIn(nil), s.in...)
				s.in[k].over, s.in[k].held = true, 0
				s.write(fromR, bulkFrame{kind: bulkRefused, id: in.id})
				b.grant(s)
			})
		}
	}
}

func (b *bulk) end(s *bulkState) string {
	all := uint8(1)<<len(b.large) - 1
	switch {
	case s.asks || len(s.in) > 0:
		return "a body has no memory for ever"
	case s.handled|s.expired != all || len(s.todo)+len(s.bodies)+len(s.returns) > 0:
		return "a message is not handled"
	}
	return ""
}

func (b *bulk) encode(s *bulkState, to []byte) []byte {
	for _, q := range s.queue {
		to = append(to, byte(len(q)))
		for _, f := range q {
			to = append(to, f.kind, f.id, f.message, f.number, f.owner, f.n)
		}
	}
	for _, list := range [][]uint8{s.todo, s.mailbox, s.returns} {
		to = append(append(to, byte(len(list))), list...)
	}
	to = append(to, byte(len(s.bodies)), byte(len(s.in)))
	for _, o := range append([]bodyOut{s.sending}, s.bodies...) {
		to = append(to, o.id, o.message, o.number, o.owner, o.sent, o.granted)
	}
	for _, in := range s.in {
		to = append(to, in.id, in.message, in.number, in.owner, in.come, in.held, bits(in.over))
	}
	to = append(to, s.back, s.route, s.expired, s.nextID, s.owner, bits(s.closed, s.acked, s.asks, s.done), s.handled, s.ordered[0], s.ordered[1], s.ordered[2], s.lastBack, s.lates)
	return append(to, s.broken...)
}

type bulkCase struct {
	name string
	bulkConfig
}

func bulkCases() []bulkCase {
	return []bulkCase{
		{"two bodies", bulkConfig{large: []bool{true, true}, memory: 2, others: 1}},
		{"three bodies", bulkConfig{large: []bool{true, true, true}, memory: 3, others: 2}},
		{"closing", bulkConfig{large: []bool{true, false}, memory: 2, others: 1, closes: true}},
		{"small behind large", bulkConfig{large: []bool{true, false, true}, memory: 2, others: 1, closes: true}},
		{"number again", bulkConfig{large: []bool{true, true}, memory: 2, others: 1, closes: true, again: true}},
		{"deadlines", bulkConfig{large: []bool{true, false, true}, memory: 2, others: 1, lates: 2}},
		{"deadlines and closing", bulkConfig{large: []bool{true, false}, memory: 2, others: 1, lates: 1, closes: true, again: true}},
	}
}
