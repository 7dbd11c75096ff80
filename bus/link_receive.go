package bus

import (
	"fmt"
	"slices"

	"github.com/runrig-go/runrig/bus/internal/frame"
	"github.com/runrig-go/runrig/bus/internal/recycle"
)

// receiver is what a link does with what comes. All of it is the reader's goroutine's.
type receiver struct {
	*link
	reader

	// A run: messages in sequence for one consumer, which are delivered together.
	to    *inbound
	run   *run // nil: none has come for a while
	n     int
	small int   // how much of the run's bodies is used
	ran   int64 // when the last run was delivered

	times      peerTime
	bulksIn    map[uint64]*bulkIn
	handedOver int64   // bytes that the peer has handed over to this node
	pace       float64 // bytes a nanosecond at which the last large body came; 0: not known
}

// run is the memory of a run.
type run struct {
	entries [runMax]entry
	extra   [runMax]extra
	bodies  [recycle.BlockSize]byte // those up to smallBody, one after the other
}

func newReceiver(l *link) *receiver {
	r := &receiver{link: l}
	r.reader = reader{sink: r, conn: l.conn, clk: &l.clock, ear: &l.ear, tcp: l.raw != nil}
	return r
}

func (r *receiver) handleRoutes(b []byte) error {
	r.endRun()
	whole, err := r.routes.got(b)
	if whole {
		r.owner.linkUp(r.link)
	}
	return err
}

func (r *receiver) place(kind int, f *frame.Frame, size int) []byte {
	if kind == frame.Chunk {
		if b := r.bulksIn[f.Bulk()]; b != nil {
			return b.place(size, r.now)
		}
		return nil
	}
	return r.link.bodies.Get(size)
}

// handle does what a frame other than ROUTES asks for; owned says that its body is not in
// the read buffer. An error is what a peer may not say (rule 18): it ends the link. bye says
// that the frame is GOODBYE.
func (r *receiver) handle(kind int, f *frame.Frame, owned bool) (bye bool, err error) {
	if kind == frame.Msg {
		return false, r.message(f, owned)
	}
	r.endRun()
	switch kind {
	case frame.Reply:
		r.gotReply(f, owned)
	case frame.Credit:
		err = r.routes.gotCredit(f)
	case frame.RoutesAck:
		err = r.announcer.gotAck(f.Seq())
	case frame.RoutesDone:
		r.routes.gotDone(f.Route())
	case frame.Cancel:
		r.gotCancel(f)
	case frame.Bounce:
		err = r.gotBounce(f, owned)
	case frame.Handover:
		err = r.gotHandover(f, owned)
	case frame.Ping:
		r.gotPing(f)
	case frame.Pong:
		r.gotPong(f)
	case frame.Time:
		r.gotTime(f)
	case frame.Leaving:
		r.gotLeaving()
	case frame.LeavingOK:
		r.gotLeavingOK()
	case frame.Goodbye:
		return true, nil
	case frame.Bulk:
		err = r.gotBulk(f)
	case frame.BulkGo:
		err = r.gotBulkGo(f)
	case frame.Chunk:
		err = r.gotChunk(f)
	case frame.Rest:
		err = r.inbounds.gotRest(f)
	case frame.ChunkAck:
		err = r.gotChunkAck(f)
	case frame.BulkReset:
		if f.Refused() != 0 {
			r.ends.gotRefused(f)
		} else {
			r.gotBulkReset(f)
		}
	default:
		err = fmt.Errorf("%w: frame of unknown type %d", frame.ErrMalformed, kind)
	}
	return false, err
}

// entry is a message of a run without its body and headers. It holds no pointer,
// whose every write would be work for the collector.
type entry struct {
	id       uint64
	deadline int64
	cost     uint32
	size     int32 // of the body
	extra    bool  // it has headers, or a body that is not small
	kind     uint8
	codec    uint8
	hops     uint8
}

// message adds a message to the run of its consumer.
func (r *receiver) message(f *frame.Frame, owned bool) error {
	kind := f.Kind()
	if kind < kindSend || kind > kindPublish {
		return fmt.Errorf("%w: message of kind %d", frame.ErrMalformed, kind)
	}
	if r.to == nil || uint64(r.to.consumer.num) != f.Route() {
		r.deliver()
		if r.to = r.inbounds.get(f.Route()); r.to == nil {
			return fmt.Errorf("%w: message for route %d, which is not there", frame.ErrMalformed, f.Route())
		}
	}
	switch {
	case kind != kindPublish && r.to.consumer.made&madePublished != 0:
		return r.to.notPublished(kind)
	case kind == kindPublish && !r.to.alone(f):
		r.endRun()
		return r.gotPublish(f, owned)
	}
	small := !owned && len(f.Body) <= smallBody
	if r.n == runMax || small && r.small+len(f.Body) > recycle.BlockSize {
		r.deliver()
	}
	cost := cost(len(f.Body), f.Header)
	if err := r.to.take(cost, f, &r.times); err != nil {
		return err
	}
	if f.Codec() >= codecNamed {
		if e := r.entry(f, cost); e.codec == codecUnknown {
			r.inbounds.unsettled.Add(1)
			r.refuse(r.to, &e, f)
			return nil
		}
	}
	if r.run == nil {
		r.run = new(run)
	}
	e := &r.run.entries[r.n]
	*e = r.entry(f, cost)
	key := choice(f.Choice()).comeTo(r.to.consumer, kind)
	if e.extra = !small || f.Header != nil || key != 0; e.extra {
		x := &r.run.extra[r.n]
		if x.header, x.key = f.Header, key; !small {
			x.body = f.Body
			if !owned {
				x.body = r.link.bodies.Copy(f.Body)
			}
		}
	}
	if small {
		r.small += copy(r.run.bodies[r.small:], f.Body)
	}
	r.n++
	return nil
}

// extra is what most messages do not have.
type extra struct {
	header Header
	key    uint64
	body   []byte // nil: it is among the small ones
}

// timeLeft returns how much time a message has left, from the peer's last TIME on. It
// bounds what the peer says, so that reckoning with it does not overflow.
func timeLeft(f *frame.Frame) int64 { return int64(min(f.TimeLeft(), 1<<40)) * 1e6 }

func (r *receiver) deadline(f *frame.Frame) int64 { return r.times.deadline(f, r.now) }

// alone reports whether a publish goes to this consumer only.
func (in *inbound) alone(f *frame.Frame) bool {
	c := in.consumer
	return in.known && f.Skipped == nil && c.local.ring().mine.Load() == c && c.sibling.Load() == nil
}

// notPublished (rule 14) is the error for a message of a kind that the consumer does not take.
func (in *inbound) notPublished(kind uint64) error {
	return fmt.Errorf("%w: message of kind %d for route %d, which takes only what is published", frame.ErrMalformed, kind, in.consumer.num)
}

// take notes that a message has come, and checks that its sender had credit for
// it (rule 10). It counts credit that this node has written and the sender has not read yet:
// so a sender that keeps the rule has no more credit than take reckons with.
func (in *inbound) take(cost int64, f *frame.Frame, peer *peerTime) error {
	if in.taken-in.paid >= in.window.Load() {
		in.of.mu.Lock()
		w := in.window.Load() // read in the same critical section as returned: a shrinking window changes both
		in.paid = in.returned
		in.of.mu.Unlock()
		if in.taken-in.paid >= w {
			return fmt.Errorf("%w: message for route %d, whose window of %d bytes is used up", frame.ErrMalformed, in.consumer.num, w)
		}
	}
	if f.Starved() {
		now := in.of.clock.now()
		in.grow(peer.deadline(f, now) - now)
	}
	in.received++
	in.taken += cost
	return nil
}

// deliver hands the run over: one allocation for its Messages, one for its small
// bodies, one lock.
func (r *receiver) deliver() {
	if r.n == 0 {
		return
	}
	ms := make([]Message, r.n)
	left := r.link.bodies.Block(r.run.bodies[:r.small])
	for i := range ms {
		e, m := &r.run.entries[i], &ms[i]
		e.message(m, r.to)
		var large bool
		if e.extra {
			x := &r.run.extra[i]
			m.setBody(x.body)
			large = x.body != nil
			m.setRare(x.header, x.key)
			*x = extra{}
		}
		if !large {
			m.setBody(left[:e.size])
			left = left[e.size:]
		}
	}
	r.inbounds.unsettled.Add(int64(r.n))
	r.n, r.small, r.ran = 0, 0, r.now
	r.to.put(ms)
}

// giveBack gives the memory of runs back if none has come for a while.
func (r *receiver) giveBack() {
	if r.now-r.ran >= int64(restAfter) {
		r.run = nil
	}
}

// endRun delivers the run, before a frame is handled that may change the routes.
func (r *receiver) endRun() {
	r.deliver()
	r.to = nil
}

// message fills in a message but for its body and headers. It is all zero.
func (e *entry) message(m *Message, in *inbound) {
	m.in, m.id, m.deadline, m.cost = in.from(), e.id, e.deadline, e.cost
	m.bits = traits(e.kind, e.codec, e.hops)
}

// entry returns a message's entry in the run.
func (r *receiver) entry(f *frame.Frame, cost int64) entry {
	id := f.ID()
	if f.Kind() == kindSend {
		id = f.Choice() // a BOUNCE brings it back
	}
	return entry{
		id: id, deadline: r.deadline(f), cost: uint32(cost), size: int32(len(f.Body)),
		kind: uint8(f.Kind()), codec: r.codecs.number(f), hops: uint8(min(f.Hops(), maxHops)),
	}
}

// put gives messages to the consumer, or sends them back if it is closed (rule 3): each is
// either handled or sent back, as Consumer.mu guards both closed and the mailbox.
func (in *inbound) put(ms []Message) {
	c := in.consumer
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		for i := range ms {
			in.of.bounces.send(&ms[i])
		}
		return
	}
	start := c.putLocked(ms)
	c.mu.Unlock()
	if start {
		c.start()
	}
}

// gotPublish (rule 14) fans a publish out to the routes that the sender has charged:
// those of the address that it had acknowledged and did not skip.
func (r *receiver) gotPublish(f *frame.Frame, owned bool) error {
	skip, err := frame.Numbers(f.Skipped)
	if err != nil {
		return err
	}
	first := r.inbounds.get(f.Route())
	if first == nil {
		return fmt.Errorf("%w: publish for route %d, which is not there", frame.ErrMalformed, f.Route())
	}
	body := f.Body
	if !owned {
		body = r.link.bodies.Copy(body)
	}
	cost := cost(len(body), f.Header)
	ins := r.charged(first, skip)
	for _, in := range ins {
		if err := in.take(cost, f, &r.times); err != nil {
			return err
		}
		r.inbounds.unsettled.Add(1)
	}
	e := r.entry(f, cost)
	r.fanOut(&e, f, ins, body)
	return nil
}

// fanOut gives a message to its consumers, which share its body.
func (r *receiver) fanOut(e *entry, f *frame.Frame, ins []*inbound, body []byte) {
	for _, in := range ins {
		if e.codec == codecUnknown {
			r.refuse(in, e, f)
			continue
		}
		ms := make([]Message, 1)
		e.message(&ms[0], in)
		ms[0].setBody(body)
		ms[0].setRare(f.Header, choice(f.Choice()).comeTo(in.consumer, f.Kind()))
		in.put(ms)
	}
}

// charged (rule 14) returns the routes of first's address that the sender of a publish has
// charged: their additions it had acknowledged, and it did not skip them.
func (r *receiver) charged(first *inbound, skip []uint32) (ins []*inbound) {
	slices.Sort(skip)
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := first.consumer.local.ring().mine.Load(); c != nil; c = c.sibling.Load() {
		in := r.inbounds.atLocked(c.num)
		if in == nil || in.consumer != c || !in.known || in.stage >= inGone {
			continue
		}
		if _, skipped := slices.BinarySearch(skip, c.num); !skipped {
			ins = append(ins, in)
		}
	}
	return ins
}

// refuse (rule 17) settles a message whose codec this node does not have, and answers a
// request. It waits for nothing.
func (r *receiver) refuse(in *inbound, e *entry, f *frame.Frame) {
	m := new(Message)
	e.message(m, in)
	codec := describeCodec(f.Codec(), f.CodecName)
	r.rings.undecodable(m.Address(), m.From(), codec)
	m.fail(r.noCodec(fmt.Sprintf("the message to %q", m.Address()), codec))
	in.settle(m)
	r.link.soon()
}
