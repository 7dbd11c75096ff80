package model

import "fmt"

// window is the credit of one route, in units: S sends messages of one unit or two to
// R, whose window for them grows, shrinks, and rests.
type window struct {
	windowConfig
	out breaches
}

type windowConfig struct {
	messages, rests, grows uint8 // how many
	first, most            int8  // the window at first, and what it may grow to
}

const (
	windowMsg uint8 = 1 + iota
	windowRest
	windowCredit
)

// windowFrame is a MSG of so many units; a REST, resized so often; or a CREDIT, which
// tells a new window if that is not 0.
type windowFrame struct {
	kind, resized uint8
	units, window int8
}

func (f windowFrame) String() string {
	switch f.kind {
	case windowMsg:
		return fmt.Sprintf("MSG(of %d)", f.units)
	case windowRest:
		return fmt.Sprintf("REST(to %d, resized %d times)", f.window, f.resized)
	}
	return fmt.Sprintf("CREDIT(of %d, window %d)", f.units, f.window)
}

// windowEnd is what one of the two knows.
type windowEnd struct {
	window  int8
	used    int8  // S: sent and not settled; R: come, and no credit for it written
	resized uint8 // how often another window was told
}

type windowState struct {
	queue                  [2][]windowFrame // from S, in order; from R, where all goes first
	ends                   [2]windowEnd
	mailbox                []int8 // at R
	owed                   int8
	messages, rests, grows uint8
	broken                 string
}

func (s *windowState) fail(text string, args ...any) {
	if s.broken == "" {
		s.broken = fmt.Sprintf(text, args...)
	}
}

func (w *window) start() *windowState {
	s := &windowState{messages: w.messages, rests: w.rests, grows: w.grows}
	s.ends[0].window, s.ends[1].window = w.first, w.first
	return s
}

func (w *window) wrong(s *windowState) string { return s.broken }

func (w *window) next(s *windowState, step func(label, *windowState)) {
	do := func(l label, f func(*windowState)) {
		n := *s
		f(&n)
		step(l, &n)
	}
	w.nextOfSender(s, do)
	w.nextOfReceiver(s, do)
	for from, q := range s.queue {
		if len(q) > 0 {
			do(does("%s reads %v", "RS"[from:][:1], q[0]), func(s *windowState) {
				s.queue[from] = remove(q, 0)
				w.read(s, 1-from, q[0])
			})
		}
	}
}

// nextOfSender sends while the balance is positive (rule 10), and keeps to a smaller
// window (rule 11).
func (w *window) nextOfSender(s *windowState, do func(label, func(*windowState))) {
	e := s.ends[0]
	balance := e.window - e.used
	if s.messages > 0 && (balance > 0 || balance == 0 && w.out.has(balancePositive)) {
		for units := int8(1); units <= 2; units++ {
			do(does("S sends a MSG of %d", units), func(s *windowState) {
				s.messages--
				s.ends[0].used += units
				s.queue[0] = push(s.queue[0], windowFrame{kind: windowMsg, units: units})
			})
		}
	}
	if s.rests > 0 && e.window > w.first {
		do(does("S keeps to the first window"), func(s *windowState) {
			s.rests--
			s.ends[0].window = w.first
			s.queue[0] = push(s.queue[0], windowFrame{kind: windowRest, resized: e.resized, window: w.first})
		})
	}
}

// nextOfReceiver handles messages, and writes credit, with which the window may shrink by
// as much (rule 11).
func (w *window) nextOfReceiver(s *windowState, do func(label, func(*windowState))) {
	if len(s.mailbox) > 0 {
		do(does("R handles a message of %d", s.mailbox[0]), func(s *windowState) {
			s.owed += s.mailbox[0]
			s.mailbox = remove(s.mailbox, 0)
		})
	}
	if s.grows > 0 && 2*s.ends[1].window <= w.most {
		do(does("R doubles the window"), func(s *windowState) {
			s.grows--
			w.tell(s, 0, s.ends[1].window)
		})
	}
	if s.owed == 0 {
		return
	}
	do(does("R writes credit"), func(s *windowState) { w.tell(s, s.owed, 0) })
	less := min(s.owed, s.ends[1].window-w.first)
	if w.out.has(shrinksByCredit) {
		less = s.ends[1].window - w.first
	}
	if less > 0 {
		do(does("R writes credit, and takes %d of the window back", less), func(s *windowState) { w.tell(s, s.owed, -less) })
	}
}

// tell writes a CREDIT that changes the window by so much.
func (w *window) tell(s *windowState, units, more int8) {
	e := &s.ends[1]
	e.used -= units
	e.window += more
	s.owed -= units
	f := windowFrame{kind: windowCredit, units: units}
	if more != 0 {
		e.resized++
		f.window = e.window
	}
	s.queue[1] = push(s.queue[1], f)
}

func (w *window) read(s *windowState, at int, f windowFrame) {
	e := &s.ends[at]
	switch f.kind {
	case windowMsg:
		if e.used >= e.window {
			s.fail("a MSG comes for a window of %d that is used up", e.window)
		}
		e.used += f.units
		s.mailbox = push(s.mailbox, f.units)
	case windowRest:
		if f.resized != e.resized && !w.out.has(restCounts) {
			return
		}
		if f.window >= e.window {
			s.fail("a REST comes that is none")
		}
		e.window = f.window
	case windowCredit:
		before := e.window - e.used
		if f.window != 0 {
			e.window = f.window
			e.resized++
		}
		if e.used -= f.units; e.window-e.used < before && f.units > 0 {
			s.fail("credit is revoked: the balance was %d and is %d", before, e.window-e.used)
		}
	}
}

func (w *window) end(s *windowState) string {
	if s.ends[0] != s.ends[1] {
		return "the two ends do not agree on the window"
	}
	return ""
}

func (w *window) encode(s *windowState, b []byte) []byte {
	for i, q := range s.queue {
		b = append(b, byte(len(q)), byte(s.ends[i].window), byte(s.ends[i].used), s.ends[i].resized)
		for _, f := range q {
			b = append(b, f.kind, f.resized, byte(f.units), byte(f.window))
		}
	}
	b = append(b, byte(len(s.mailbox)))
	for _, units := range s.mailbox {
		b = append(b, byte(units))
	}
	b = append(b, byte(s.owed), s.messages, s.rests, s.grows)
	return append(b, s.broken...)
}
