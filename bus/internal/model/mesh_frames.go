package model

import "fmt"

const (
	frameMsg uint8 = 1 + iota
	frameReply
	frameBounce
	frameCredit
	frameRoutes
	frameRoutesAck
	frameRoutesDone
	frameLeaving
	frameLeavingOK
	frameGoodbye
	frameEnd // of the stream
	frameCancel
	frameHandover
)

var frameNames = []string{"", "MSG", "REPLY", "BOUNCE", "CREDIT", "ROUTES", "ROUTES_ACK", "ROUTES_DONE", "LEAVING", "LEAVING_OK", "GOODBYE", "end of stream", "CANCEL", "HANDOVER"}

// frame is one of the protocol's.
//
//	MSG          message, number, n: hops, or the skipped consumers of a publish; of: for whom it is meant
//	REPLY        message, number: of the link, n: hops, of: the question that it is, and one; failed
//	BOUNCE       message, number, n: hops; of: by whom
//	CREDIT       number, n: messages; of: by whom
//	ROUTES       n: the consumers added, of: removed; reuses: a number that was another's
//	ROUTES_DONE  number; of: the consumer; or all
//	CANCEL       message, n: hops
//
// A message with its hops stands for a request's id. For whom a frame is meant, and by
// whom it is, no rule reads.
type frame struct {
	kind, message, number, n, of uint8
	flag                         bool // REPLY: it is an error; ROUTES: see above; ROUTES_DONE: all
}

func (f frame) String() string {
	switch f.kind {
	case frameMsg:
		return fmt.Sprintf("MSG(m%d to #%d, hops %d)", f.message, f.number, f.n)
	case frameReply:
		if f.of > 0 {
			return fmt.Sprintf("REPLY(to m%d, asks m%d)", f.message, f.of-1)
		}
		return fmt.Sprintf("REPLY(to m%d, error %v)", f.message, f.flag)
	case frameBounce:
		return fmt.Sprintf("BOUNCE(m%d of #%d)", f.message, f.number)
	case frameCredit:
		return fmt.Sprintf("CREDIT(#%d, %d; by c%d)", f.number, f.n, f.of)
	case frameRoutes:
		return fmt.Sprintf("ROUTES(adds %s, removes %s)", consumerSet(f.n), consumerSet(f.of))
	case frameRoutesDone:
		return fmt.Sprintf("ROUTES_DONE(#%d, all %v)", f.number, f.flag)
	case frameCancel, frameHandover:
		return fmt.Sprintf("%s(m%d)", frameNames[f.kind], f.message)
	}
	return frameNames[f.kind]
}

func consumerSet(set uint8) string {
	text := "{"
	for c := range maxConsumers {
		if set>>c&1 != 0 {
			text += fmt.Sprint(" c", c)
		}
	}
	return text + " }"
}

// goesFirst reports whether a frame goes before all that is in order and not written.
func (x *mesh) goesFirst(f frame) bool {
	switch f.kind {
	case frameCredit, frameRoutes, frameLeaving:
		return true
	case frameRoutesAck:
		return x.out.has(ackFirst)
	case frameRoutesDone:
		return x.out.has(doneFirst)
	case frameLeavingOK:
		return x.out.has(leavingOKFirst)
	case frameGoodbye:
		return x.out.has(goodbyeFirst)
	}
	return false
}

// returns reports whether an addition that uses a number again stays behind it (rule 3).
func (f frame) returns() bool { return f.kind == frameBounce || f.kind == frameRoutesDone }

// overtaker returns which frame may be read before the first: the next one that goes
// first; 0 if there is none.
func (x *mesh) overtaker(q []frame) int {
	returns := false
	for h, f := range q {
		if x.goesFirst(f) {
			if f.kind == frameRoutes && f.flag && returns && !x.out.has(reuseFirst) {
				return 0
			}
			return h
		}
		returns = returns || f.returns()
	}
	return 0
}

// write appends a frame to the link of i to j, unless i's end is down or has said
// GOODBYE.
func (x *mesh) write(s *meshState, i, j int, f frame) {
	at, side := place(i, j)
	p := &s.pairs[at]
	switch e := &p.ends[side]; {
	case e.state == linkDown:
		return
	case e.saidGoodbye && f.kind != frameEnd:
		if x.forced == 0 && (f.kind == frameMsg || f.kind == frameReply || f.kind == frameBounce || f.kind == frameHandover) {
			s.fail("%s is to be written after GOODBYE", frameNames[f.kind])
		}
		return
	}
	if p.alive && p.closed>>(1-side)&1 != 0 { // a reset: what is unread here is lost
		p.queue[1-side], p.alive = nil, false
	}
	if p.alive {
		p.queue[side] = push(p.queue[side], f)
	}
}
