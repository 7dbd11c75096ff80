package bus

import (
	"fmt"
	"io"
	"slices"
)

const (
	readBuffer = 64 << 10
	readFirst  = 4 << 10 // of a link that has little to read
	readAhead  = 2 << 10 // what is read beside a large body, before the next
	directBody = 8 << 10 // a frame so large is not read into the buffer
	runMax     = 32      // messages that are allocated together
	blockMax   = 4 << 10 // bytes of small bodies that are
	smallBody  = 1 << 10
)

// reader takes frames from the connection. It waits for input and nothing else.
type reader struct {
	*link
	in    []byte
	r, w  int   // in[r:w] is not handled yet
	now   int64 // when the last read returned
	large bool  // the last frame had a large body: another may follow
	f     frame

	// A run: messages in sequence for one consumer, which are delivered together.
	to    *inbound
	run   [runMax]entry
	n     int
	small int // bytes of bodies up to smallBody

	bulksIn map[uint64]*bulkIn
}

// entry is a message of a run. Until it is delivered a small body is part of the
// read buffer.
type entry struct {
	body     []byte
	header   Header
	id       uint64
	deadline int64
	cost     uint32
	kind     uint8
	codec    uint8
	hops     uint8
	owned    bool
}

// read reads frames until the link ends. It returns nil after GOODBYE.
func (r *reader) read() error {
	r.in = make([]byte, readFirst)
	for {
		to := r.in[r.w:]
		if r.large {
			to = to[:min(len(to), readAhead)]
		}
		n, err := r.fill(to)
		r.w += n
		bye, ferr := r.frames()
		r.deliver() // before what it points to is moved
		switch {
		case ferr != nil:
			return ferr
		case bye:
			return nil
		case err != nil:
			return readError(err)
		}
		r.w = copy(r.in, r.in[r.r:r.w])
		r.r = 0
		if err := r.grow(n == len(to)); err != nil {
			return err
		}
	}
}

func readError(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading: %w", err)
}

// fill reads once.
func (r *reader) fill(b []byte) (int, error) {
	n, err := r.conn.Read(b)
	r.now = r.core.clock()
	r.lastRead.Store(r.now)
	return n, err
}

// grow makes the buffer larger if a read has filled it, or for a frame that is
// larger.
func (r *reader) grow(filled bool) error {
	size := len(r.in)
	if filled && !r.large && size < readBuffer {
		size *= 2
	}
	r.large = r.large && !filled
	_, _, end, err := nextFrame(r.in[:r.w])
	if size = max(size, end); size > len(r.in) {
		r.in = append(make([]byte, 0, size), r.in[:r.w]...)[:size]
	}
	return err
}

// frames handles the whole frames that are there.
func (r *reader) frames() (bye bool, err error) {
	for {
		b := r.in[r.r:r.w]
		kind, begin, end, err := nextFrame(b)
		switch {
		case err != nil || end == 0:
			return false, err
		case end > len(b) && end >= directBody && len(b) > begin:
			done, err := r.direct(kind, b[begin:], end-begin)
			if err != nil || !done {
				return false, err
			}
			continue
		case end > len(b):
			return false, nil
		}
		if bye, err = r.frame(kind, b[begin:end]); bye || err != nil {
			return bye, err
		}
		r.r += end
	}
}

// direct reads what is missing of a frame's body to where it belongs. It reports
// false if more of the frame must be in the buffer first, or all of it.
func (r *reader) direct(kind int, b []byte, size int) (done bool, err error) {
	if kind != frameMsg && kind != frameReply && kind != frameChunk {
		return false, nil
	}
	missing, err := r.f.parsePart(b, size)
	if err != nil || missing <= 0 {
		return false, err
	}
	have := len(r.f.body)
	to := r.place(kind, have+missing)
	if to == nil {
		return false, nil // it is wrong, and will be seen to be
	}
	copy(to, r.f.body)
	for have < len(to) {
		n, err := r.fill(to[have:])
		have += n
		if err != nil && have < len(to) {
			return false, readError(err)
		}
	}
	r.r, r.w, r.large = 0, 0, true
	r.f.body = to
	_, err = r.handle(kind, true)
	return true, err
}

// place returns memory for a body.
func (r *reader) place(kind, size int) []byte {
	if kind == frameChunk {
		if b := r.bulksIn[r.f.head[fBulk]]; b != nil {
			return b.place(size)
		}
		return nil
	}
	return make([]byte, size)
}

func (r *reader) frame(kind int, b []byte) (bye bool, err error) {
	if kind == frameRoutes {
		r.endRun()
		return false, r.gotRoutes(b)
	}
	if err := r.f.parse(b); err != nil {
		return false, err
	}
	return r.handle(kind, false)
}

// handle handles the frame that has been read; owned says that its body is not
// part of the read buffer.
func (r *reader) handle(kind int, owned bool) (bye bool, err error) {
	f := &r.f
	if kind == frameMsg {
		return false, r.message(f, owned)
	}
	r.endRun()
	switch kind {
	case frameReply:
		r.gotReply(f, owned)
	case frameCredit:
		err = r.gotCredit(f)
	case frameRoutesAck:
		err = r.gotRoutesAck(f.head[fSeq])
	case frameRoutesDone: // for policies that hold a key until then
	case frameCancel:
		r.gotCancel(f)
	case frameBounce:
		err = r.gotBounce(f, owned)
	case framePing:
		r.link.frame(framePong, &head{})
		r.soon()
	case framePong: // lastRead says it
	case frameLeaving:
		r.gotLeaving()
	case frameLeavingOK:
		r.gotLeavingOK()
	case frameGoodbye:
		return true, nil
	case frameBulk:
		err = r.gotBulk(f)
	case frameBulkGo:
		r.gotBulkGo(f)
	case frameChunk:
		err = r.gotChunk(f)
	case frameChunkAck:
		err = r.gotChunkAck(f)
	case frameBulkReset:
		if f.head[fFrame] != 0 {
			r.gotBulkRefused(f)
		} else {
			r.gotBulkReset(f)
		}
	default:
		err = fmt.Errorf("%w: frame of unknown type %d", errMalformed, kind)
	}
	return false, err
}

// message adds one to the run of its consumer.
func (r *reader) message(f *frame, owned bool) error {
	kind := f.head[fKind]
	if kind < kindSend || kind > kindPublish {
		return fmt.Errorf("%w: message of kind %d", errMalformed, kind)
	}
	if r.to == nil || uint64(r.to.consumer.num) != f.head[fRoute] {
		r.deliver()
		if r.to = r.inbound(f.head[fRoute]); r.to == nil {
			return fmt.Errorf("%w: message for route %d, which is not there", errMalformed, f.head[fRoute])
		}
	}
	if kind == kindPublish && !r.to.alone(f) {
		r.endRun()
		return r.gotPublish(f, owned)
	}
	small := !owned && len(f.body) <= smallBody
	if r.n == runMax || small && r.small+len(f.body) > blockMax {
		r.deliver()
	}
	cost := messageCost + len(f.body) + f.header.size()
	if err := r.to.take(int64(cost), f.head[fStarved] != 0); err != nil {
		return err
	}
	e := &r.run[r.n]
	r.n++
	*e = r.entry(f, int64(cost))
	e.body, e.owned = f.body, !small
	switch {
	case small:
		r.small += len(f.body)
	case !owned:
		e.body = append([]byte(nil), f.body...)
	}
	return nil
}

func (r *reader) deadline(f *frame) int64 { return r.now + int64(min(f.head[fTimeLeft], 1<<40))*1e6 }

// alone reports whether a publish goes to this consumer only.
func (in *inbound) alone(f *frame) bool {
	c := in.consumer
	return in.known && f.skipped == nil && c.ring.mine.Load() == c && c.sibling.Load() == nil
}

// take notes that a message has come, and checks that its sender had credit for
// it. Credit that is on its way to the sender counts: it has less.
func (in *inbound) take(cost int64, starved bool) error {
	if in.taken-in.paid >= in.window.Load() {
		in.link.mu.Lock()
		in.paid = in.returned
		in.link.mu.Unlock()
		if w := in.window.Load(); in.taken-in.paid >= w {
			return fmt.Errorf("%w: message for route %d, whose window of %d bytes is used up", errMalformed, in.consumer.num, w)
		}
	}
	if starved {
		in.grow()
	}
	in.received++
	in.taken += cost
	return nil
}

// inbound returns the end of a route, nil if the peer cannot know such a one.
func (l *link) inbound(num uint64) *inbound {
	if num > maxRoutes {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	in := l.inLocked(uint32(num))
	if in == nil || in.gone || !in.announced {
		return nil
	}
	return in
}

// deliver hands the run over: one allocation for its Messages, one for its small
// bodies, one lock.
func (r *reader) deliver() {
	if r.n == 0 {
		return
	}
	ms := make([]Message, r.n)
	var block []byte
	if r.small > 0 {
		block = make([]byte, 0, r.small)
	}
	for i := range ms {
		e := &r.run[i]
		body := e.body
		if !e.owned {
			n := len(block)
			block = append(block, body...)
			body = block[n:len(block):len(block)]
		}
		e.message(&ms[i], r.to, body)
		e.header, e.body = nil, nil
	}
	r.unsettledIn.Add(int64(r.n))
	r.n, r.small = 0, 0
	r.to.put(ms)
}

// endRun delivers the run; what comes next may change the routes.
func (r *reader) endRun() {
	r.deliver()
	r.to = nil
}

// message fills in a message of the entry.
func (e *entry) message(m *Message, in *inbound, body []byte) {
	m.Body, m.header, m.in, m.via = body, e.header, in, ViaLink
	m.id, m.deadline, m.charge = e.id, e.deadline, e.cost
	m.kind, m.codec, m.hops = e.kind, e.codec, e.hops
}

// entry returns what a message is but for its body.
func (r *reader) entry(f *frame, cost int64) entry {
	return entry{
		header: f.header, id: f.head[fID], deadline: r.deadline(f), cost: uint32(cost),
		kind: uint8(f.head[fKind]), codec: uint8(f.head[fCodec]), hops: uint8(f.head[fHops]),
	}
}

// put gives messages to the consumer, or sends them back if it is closed.
func (in *inbound) put(ms []Message) {
	c := in.consumer
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		for i := range ms {
			in.link.bounce(&ms[i])
		}
		return
	}
	start := c.putLocked(ms)
	c.mu.Unlock()
	if start {
		c.start()
	}
}

// gotPublish fans a publish out to the routes that the sender has charged:
// those of the address that it had acknowledged and did not skip.
func (r *reader) gotPublish(f *frame, owned bool) error {
	skip, err := numbers(f.skipped)
	if err != nil {
		return err
	}
	first := r.inbound(f.head[fRoute])
	if first == nil {
		return fmt.Errorf("%w: publish for route %d, which is not there", errMalformed, f.head[fRoute])
	}
	body := f.body
	if !owned {
		body = append([]byte(nil), body...)
	}
	cost := int64(messageCost + len(body) + f.header.size())
	ins := r.charged(first, skip)
	for _, in := range ins {
		if err := in.take(cost, f.head[fStarved] != 0); err != nil {
			return err
		}
		r.unsettledIn.Add(1)
	}
	e := r.entry(f, cost)
	e.fanOut(ins, body)
	return nil
}

// fanOut gives a message to several consumers, which share its body.
func (e *entry) fanOut(ins []*inbound, body []byte) {
	for _, in := range ins {
		ms := make([]Message, 1)
		e.message(&ms[0], in, body)
		in.put(ms)
	}
}

// charged returns the routes of an address that the sender of a publish knew.
func (l *link) charged(first *inbound, skip []uint32) (ins []*inbound) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for c := first.consumer.ring.mine.Load(); c != nil; c = c.sibling.Load() {
		in := l.inLocked(c.num)
		if in == nil || in.consumer != c || !in.known || in.gone {
			continue
		}
		for _, n := range skip {
			if n == c.num {
				continue next
			}
		}
		ins = append(ins, in)
	}
	return ins
}

// gotReply answers a request; owned says that the body is not in the read
// buffer.
func (l *link) gotReply(f *frame, owned bool) {
	c := l.pend.take(f.head[fID])
	if c == nil { // it has ended
		l.core.stats.lateReplies.Add(1)
		return
	}
	r := reply{
		failed: f.head[fFailed] != 0, code: unzigzag(f.head[fCode]), header: f.header,
		body: f.body, codec: uint8(f.head[fCodec]), shared: !owned,
	}
	c.answer(l.core.answerOf(&l.replied, &r, ViaLink))
	l.core.poke()
}

// answerOf makes a reply a request's answer.
func (c *core) answerOf(in *inbound, r *reply, via Via) answer {
	if r.failed {
		return answer{err: &ReplyError{Code: r.code, Message: string(r.body)}}
	}
	m := newMessage(r.body, !r.shared)
	m.header, m.in, m.codec, m.via = r.header, in, r.codec, via
	return answer{m: m}
}

// gotCredit books what the peer's consumer has settled.
func (l *link) gotCredit(f *frame) error {
	rt := l.route(f.head[fRoute])
	if rt == nil {
		return fmt.Errorf("%w: credit for route %d, which is not there", errMalformed, f.head[fRoute])
	}
	if err := l.settled(rt, f.head[fBytes], f.head[fMessages]); err != nil {
		return err
	}
	if w := f.head[fWindow]; w > 0 {
		if err := l.setWindow(rt, w); err != nil {
			return err
		}
	}
	l.core.stats.settled.Add(f.head[fMessages])
	rt.ring.grant()
	l.core.poke()
	return nil
}

// setWindow takes over a route's new window.
func (l *link) setWindow(rt *route, w uint64) error {
	if w > maxWindow {
		return fmt.Errorf("%w: window of %d bytes for route %d", errMalformed, w, rt.num)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	rt.window = int64(w)
	return nil
}

// settled takes messages back into a route's balance.
func (l *link) settled(rt *route, bytes, messages uint64) error {
	if err := l.owes(rt, bytes, messages); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	rt.settle(int64(bytes), int64(messages))
	l.outside -= int64(messages)
	return nil
}

// owes checks that so much is under way on a route.
func (l *link) owes(rt *route, bytes, messages uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if messages > uint64(rt.unsettled) || bytes > uint64(rt.used) {
		return fmt.Errorf("%w: %d messages of %d bytes settled on route %d, where %d of %d are under way", errMalformed, messages, bytes, rt.num, rt.unsettled, rt.used)
	}
	return nil
}

// gotBounce takes a message back and routes it elsewhere; owned says that the
// body is not in the read buffer.
func (l *link) gotBounce(f *frame, owned bool) error {
	rt := l.route(f.head[fRoute])
	if rt == nil || f.head[fKind] != kindSend && f.head[fKind] != kindRequest {
		return fmt.Errorf("%w: bounce of kind %d of route %d", errMalformed, f.head[fKind], f.head[fRoute])
	}
	cost := messageCost + len(f.body) + f.header.size()
	if err := l.owes(rt, uint64(cost), 1); err != nil {
		return err
	}
	o := outgoing{
		header: f.header, body: f.body, owned: true, cost: int64(cost),
		deadline: l.core.clock() + int64(min(f.head[fTimeLeft], 1<<40))*1e6,
	}
	if !owned {
		o.body = slices.Clone(f.body)
	}
	o.head[fKind], o.head[fCodec], o.head[fHops] = f.head[fKind], f.head[fCodec], f.head[fHops]
	ended := false
	if f.head[fKind] == kindRequest {
		o.call = l.pend.take(f.head[fID])
		ended = o.call == nil
	}
	l.core.stats.bounced.Add(1)
	if !ended { // first placed or waiting, then settled: leaving looks at both
		l.core.reroute(rt.ring.address, &o)
	}
	if err := l.settled(rt, uint64(cost), 1); err != nil {
		return err
	}
	l.core.poke()
	return nil
}

// gotCancel ends the context of a request's handler, or its turn in the mailbox.
func (l *link) gotCancel(f *frame) {
	l.mu.Lock()
	in := l.inLocked(uint32(min(f.head[fRoute], maxRoutes)))
	l.mu.Unlock()
	if in == nil {
		return // handled, or sent back
	}
	c := in.consumer
	c.mu.Lock()
	m := c.box.find(in, f.head[fID])
	c.mu.Unlock()
	if m != nil {
		m.end(stateCanceled)
	}
}

func zigzag(n int) uint64   { return uint64(int64(n)<<1) ^ uint64(int64(n)>>63) }
func unzigzag(v uint64) int { return int(int64(v>>1) ^ -int64(v&1)) }
