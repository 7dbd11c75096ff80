package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/runrig-go/runrig/bus"
)

const (
	fewAtOnce  = 3                      // nodes to join in one round
	askMore    = 8                      // addresses that are asked at once, and as many more
	askMoreAt  = 250 * time.Millisecond // each time that this is over
	askAtMost  = 96                     // what that comes to until the first have had their 3 s
	askBeside  = 4                      // addresses at once for a node that is with others, and is in no hurry
	moreAnswer = 250 * time.Millisecond // how long others may take when one address has answered
)

// A sweep asks the addresses of one round who is there. It begins with a few, as
// those that answer do so at once, and asks more and more of them side by side
// while nobody answers, so that silent ones do not add up. When some have answered
// they are joined, and no more are asked.
type sweep struct {
	*seeker
	ctx   context.Context
	fresh bool // discovery was asked

	told     []named
	failed   error   // of names
	blind    bool    // a name that failed may hide somebody
	problems []error // of addresses at which nobody was found

	living    map[string]bool
	seen      map[netip.AddrPort]bool
	waiting   []netip.AddrPort
	results   chan tried
	running   int
	allowed   int
	answering []netip.AddrPort
	joined    bool
}

// tried is what became of a question.
type tried struct {
	addr netip.AddrPort
	who  bus.Peer // who answered
	err  error
}

// run takes in names as they are resolved, until all have been, and all that were
// asked have answered or had their time.
func (w *sweep) run(found <-chan named) {
	w.seen, w.results = map[netip.AddrPort]bool{}, make(chan tried)
	w.living, w.allowed = w.roster.living(), askMore
	if len(w.living) > 0 {
		w.allowed = askBeside
	}
	w.want(w.lost())
	more := time.NewTicker(askMoreAt)
	defer more.Stop()
	var enough <-chan time.Time
	for found != nil || w.running+len(w.waiting) > 0 {
		w.ask()
		select {
		case n, ok := <-found:
			if !ok {
				found = nil
				break
			}
			w.take(n)
		case r := <-w.results:
			w.running--
			w.settle(r)
			if enough == nil && len(w.answering) > 0 {
				enough = time.After(moreAnswer)
			}
		case <-more.C:
			if len(w.living) == 0 {
				w.allowed = min(w.allowed+askMore, askAtMost)
			}
		case <-enough:
			w.join()
		}
		if len(w.answering) == fewAtOnce {
			w.join()
		}
	}
	w.join()
	for a := range w.spots { // nobody tells of the others any more
		if !w.seen[a] {
			delete(w.spots, a)
		}
	}
}

// take takes in what a name has led to.
func (w *sweep) take(n named) {
	w.told = append(w.told, n)
	if n.err != nil {
		w.failed = errors.Join(w.failed, n.err)
		noName := new(net.DNSError)
		w.blind = w.blind || w.young() || !errors.As(n.err, &noName) || !noName.IsNotFound
	}
	w.want(n.addrs)
}

// want adds the addresses that are to be asked in this round.
func (w *sweep) want(addrs []netip.AddrPort) {
	for _, a := range addrs {
		if !w.seen[a] && !w.joined && w.isDue(a) {
			w.waiting = append(w.waiting, a)
		}
		w.seen[a] = true
	}
}

// isDue reports whether an address is to be asked now. The own one is while this
// node is with nobody: it shows who is there for others.
func (w *sweep) isDue(a netip.AddrPort) bool {
	together := len(w.living) > 0
	switch at := w.spots[a]; {
	case w.living[plain(a)], together && w.isOwn(a):
		return false
	case at == nil, w.fresh && !together:
		return true
	default:
		return !time.Now().Before(at.due)
	}
}

// ask asks as many as may be asked at once now.
func (w *sweep) ask() {
	for ; w.running < w.allowed && len(w.waiting) > 0 && w.ctx.Err() == nil; w.running++ {
		a := w.waiting[0]
		w.waiting = w.waiting[1:]
		go func() { w.results <- w.try(w.ctx, a) }() // ends within dialTimeout or with ctx; received by run
	}
	if w.ctx.Err() != nil {
		w.waiting = nil
	}
}

// settle acts on an answer, or that there was none.
func (w *sweep) settle(r tried) {
	at := w.spot(r.addr)
	switch {
	case w.ctx.Err() != nil:
	case errors.Is(r.err, ErrSelf):
		*at = spot{mine: true, due: time.Now().Add(jitter(awayMost, 0.2))}
	case r.err == nil && w.isOwn(r.addr):
		w.squat(at, r)
	case r.err == nil:
		*at = spot{}
		w.answering = append(w.answering, r.addr)
	default:
		w.silence(at, r)
		w.problems = append(w.problems, fmt.Errorf("%v: %w", r.addr, r.err))
	}
}

// join joins those that have answered, once, and has no more asked.
func (w *sweep) join() {
	if w.joined || len(w.answering) == 0 || w.ctx.Err() != nil {
		return
	}
	w.waiting = nil
	if err := w.seeker.join(w.answering); err != nil {
		w.problems = append(w.problems, err)
		w.answering = nil
		return
	}
	w.joined = true
	w.news.roundDone(reached)
}

// try asks who is at an address, with a HELLO that is only a question.
func (s *seeker) try(ctx context.Context, addr netip.AddrPort) tried {
	s.counts.questions.Add(1)
	c, welcome, err := ask(ctx, s.port, addr, s.own)
	if c != nil {
		_ = c.Close() // against the protocol
	}
	refused := new(RefusedError)
	switch {
	case errors.Is(err, ErrStale):
		return tried{addr, peerOf(welcome), nil} // the answer to a question
	case !errors.As(err, &refused):
		s.counts.dialErrors.Add(1)
	case misconfigured(err):
		s.news.refused(refused)
	}
	return tried{addr, bus.Peer{}, err}
}
