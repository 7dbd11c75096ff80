package bus

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// answer is how a request ended.
type answer struct {
	m   *Message
	err error
	in  *origin // from where; nil: from no node
}

// result returns the answer to a request, or its error, which names the address
// and the node.
func (a answer) result(address string) (*Message, error) {
	if a.err == nil {
		return a.m, nil
	}
	if e, ok := a.err.(*ReplyError); ok && e.came != nil {
		e.Address = address
	}
	return nil, a.named(fmt.Sprintf("request to %q%s", address, a.in.at()))
}

// named returns the error with what the call was.
func (a answer) named(what string) error {
	if _, ok := a.err.(*unanswered); ok { // others say whose they are
		what = "bus: " + what
	}
	return fmt.Errorf("%s: %w", what, a.err)
}

// at names the node, for a text.
func (in *origin) at() string {
	if in == nil {
		return ""
	}
	if name := in.back.sender(nil); name != "" {
		return " at " + name
	}
	return ""
}

// unanswered is the end of a request for whose answer nobody waits any more.
type unanswered struct {
	at  string // how far the request has come
	why error  // that of a context
}

// How far a request has come. Whether it runs at another node its sender does not know.
const (
	atSent     = "sent"
	atWaiting  = "waiting at its consumer"
	atRunning  = "its handler runs"
	atSentBack = "sent back, waiting for another consumer"
)

func (e *unanswered) Error() string {
	what := "given up"
	if e.why == context.DeadlineExceeded {
		what = "no reply in time"
	}
	return fmt.Sprintf("%s (%s): %v", what, e.at, e.why)
}

func (e *unanswered) Unwrap() error { return e.why }

// late is the end of a request at its deadline.
func (p *pending) late(c *call) error {
	if p.link != nil {
		return p.link.lateEnd(c.id)
	}
	return &unanswered{c.progress(), context.DeadlineExceeded}
}

// progress returns how far the request has come.
func (c *call) progress() string {
	c.mu.Lock()
	m := c.msg
	c.mu.Unlock()
	if m == nil { // it has gone over a link
		return atSent
	}
	return m.progress()
}

// progress returns how far a request within this node has come.
func (m *Message) progress() string {
	switch {
	case m.in.to == nil: // a question
		return atSent
	case m.in.to.handles(m) || m.state()&(stateDone|stateParked) != 0 && !m.unhandled():
		return atRunning // or has just ended, at its deadline
	}
	return atWaiting
}

// call is a request that waits for its answer. It is in at most one place: a table of
// pending requests, or a waiting list. The goroutine that takes a call out of its place
// answers the call, or puts it into another place. The goroutine that sets ended decides
// what the answer is. A call that has ended is put into no place any more: so a call whose
// caller has the answer is known to no other goroutine, and its memory may be used again.
type call struct {
	ch       chan answer // of one
	deadline int64
	ended    atomic.Bool
	turn     turn // that the caller holds
	choice   choice

	mu sync.Mutex // taken after pending.mu
	at interface {
		withdraw(c *call, id uint64, why error) answer
	} // the table, or the waiter in a list, that has the call; nil: none
	id  uint64 // in the table
	num uint32
	msg *Message // the message itself, if its consumer is this node's
}

// callPool is memory of calls. It is the bus's own: a channel must not leave the bubble
// of a test with virtual time.
type callPool struct{ unused sync.Pool }

// get returns a call, perhaps one that was used before.
func (p *callPool) get(deadline int64) *call {
	k, _ := p.unused.Get().(*call)
	if k == nil {
		k = &call{ch: make(chan answer, 1)}
	}
	k.deadline = deadline
	return k
}

// put gives back a call that has been answered: nobody else knows it.
func (p *callPool) put(k *call) {
	k.ended.Store(false)
	k.at, k.msg, k.turn = nil, nil, turn{}
	k.choice = 0
	p.unused.Put(k)
}

// await waits for the answer of a call. When ctx ends first, nobody waits any more,
// and the other side is told.
func (p *callPool) await(ctx context.Context, call *call) answer {
	select {
	case a := <-call.ch:
		p.put(call)
		return a
	case <-ctx.Done():
	}
	if !call.ended.CompareAndSwap(false, true) { // the answer is there
		a := <-call.ch
		p.put(call)
		return a
	}
	return call.withdraw(ctx.Err())
}

// answer ends the request, unless its caller has given up.
func (c *call) answer(a answer) bool {
	if !c.ended.CompareAndSwap(false, true) {
		return false
	}
	c.ch <- a
	return true
}

// withdraw takes a call that its caller has ended, for a reason, out of the table or list
// that has it, and returns the error of the call: at the deadline the one that the timer of
// the table, or of the list, would have given. Before the deadline the consumer is told.
func (c *call) withdraw(why error) answer {
	c.mu.Lock() // a call that has ended stays at its place until it is taken out
	at, id := c.at, c.id
	c.mu.Unlock()
	if at == nil {
		return answer{err: &unanswered{atSent, why}}
	}
	return at.withdraw(c, id, why)
}

// pending is the requests under way over a link, or within this node. One timer
// serves all deadlines.
type pending struct {
	*services
	link    requestLink // nil: within this node
	replies *origin     // of what answers the requests
	n       atomic.Int32

	mu    sync.Mutex // after writer.mu and Consumer.mu
	table ids[call]
	next  int64 // when the timer fires
	timer *time.Timer
}

// requestLink is the link over which requests have gone.
type requestLink interface {
	lateEnd(id uint64) error      // how one ends at its deadline
	cancel(num uint32, id uint64) // its caller has given up
}

func (p *pending) init(s *services, l requestLink, replies *origin) {
	p.services, p.link, p.replies, p.next = s, l, replies, math.MaxInt64
}

// add registers a call under an id that was not used before (rule 5). The call goes to
// consumer num of the peer, or to a consumer of this node as the message m, or, with
// neither, in answer to a request. add returns 0 if the call has ended.
func (p *pending) add(c *call, num uint32, m *Message) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended.Load() {
		return 0
	}
	id := p.table.add(c)
	p.n.Add(1)
	c.at, c.id, c.num, c.msg = p, id, num, m
	if c.deadline < p.next {
		p.setTimer(c.deadline)
	}
	return id
}

func (p *pending) setTimer(at int64) {
	p.next = at
	d := time.Duration(at - p.clock.now())
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.expire)
	} else {
		p.timer.Reset(d)
	}
}

// take takes the request with this id out of the table; nil if it has ended.
func (p *pending) take(id uint64) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.takeLocked(id)
}

func (p *pending) takeLocked(id uint64) *call {
	c := p.table.take(id)
	if c != nil {
		p.n.Add(-1)
	}
	return c
}

// deadline returns the deadline of a request, or a usual one if the request has ended.
func (p *pending) deadline(id uint64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.table.get(id); c != nil {
		return c.deadline
	}
	return p.clock.now() + int64(defaultTimeout)
}

// expire answers the requests that are due and sets the timer for the others.
func (p *pending) expire() {
	now := p.clock.now()
	p.end(func(c *call) error {
		if c.deadline > now {
			return nil
		}
		return context.DeadlineExceeded
	})
}

// end answers each request for which why returns an error, with that error.
func (p *pending) end(why func(*call) error) {
	p.mu.Lock()
	next := int64(math.MaxInt64)
	var due []*call
	var errs []error
	for id, c := range p.table.all() {
		if err := why(c); err != nil {
			due, errs = append(due, p.takeLocked(id)), append(errs, err)
		} else {
			next = min(next, c.deadline)
		}
	}
	if p.next = next; next < math.MaxInt64 {
		p.setTimer(next)
	}
	p.mu.Unlock()
	for i, c := range due {
		_ = p.expired(c, errs[i]) // the call's caller gets the error
	}
	p.leave.recheck()
}

// expired answers a call that was taken out before its reply came, and ends
// the handler's context if the handler is this node's. It returns the call's end.
func (p *pending) expired(c *call, err error) error {
	msg := c.msg
	if err == context.DeadlineExceeded {
		err = p.late(c)
	}
	c.answer(answer{err: err, in: p.replies})
	if msg != nil {
		msg.end(stateExpired)
	}
	return err
}

// withdraw takes out a call that its caller has ended, and returns its end.
func (p *pending) withdraw(c *call, id uint64, why error) answer {
	if p.take(id) == nil { // another goroutine has taken the call out: it is being answered, or sent back
		return answer{err: &unanswered{c.progress(), why}, in: p.replies}
	}
	return answer{err: p.givenUp(c, why), in: p.replies}
}

// givenUp ends a call that was taken out as its caller has given up.
func (p *pending) givenUp(c *call, why error) error {
	defer p.leave.recheck()
	at := c.progress()
	switch msg := c.msg; {
	case why == context.DeadlineExceeded && p.clock.now() >= c.deadline:
		return p.expired(c, why)
	case msg != nil:
		msg.end(stateCanceled)
		if msg.in.to != nil { // else it is a question
			msg.in.to.gaveUp()
		}
	default:
		p.link.cancel(c.num, c.id)
	}
	return &unanswered{at, why}
}

// byConsumer returns how many requests have gone to each consumer, by its number.
func (p *pending) byConsumer() map[uint32]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := map[uint32]int{}
	for _, c := range p.table.all() {
		n[c.num]++
	}
	return n
}

// stop ends the timer.
func (p *pending) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
}

// answerOf makes a reply a request's answer.
func answerOf(in *origin, r *reply) answer {
	if r.failed {
		return answer{err: errorOf(in, r), in: in}
	}
	m := newMessage(r.body, !r.shared)
	m.in, m.bits = in, traits(0, r.codec, 0)
	m.setRare(r.header, 0)
	return answer{m: m, in: in}
}
