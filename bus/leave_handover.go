package bus

import (
	"errors"
	"fmt"
	"slices"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// A message that was sent back to a node that leaves, and has no consumer on any node, is
// handed over to a node that stays, which waits for a consumer in its place. So leaving does
// not take longer where a consumer comes a little later, perhaps on the node that is started
// instead of this one, and a message that can wait for that consumer is not lost.

// handed is a message that was handed over on a link.
type handed struct {
	address string
	o       outgoing
}

// handOver (leaving 3) hands over the sends that wait for a consumer; requests stay, as
// their callers are here. A send that only consumers of this node may take (LocalOnly) is
// dead.
func (c leaver) handOver() {
	if c.work.waiting.Load() == 0 {
		return
	}
	for _, r := range c.rings.dir.all() {
		if r.waiting.Load() == 0 {
			continue
		}
		for _, w := range r.orphans() {
			c.handOverOne(r, w)
		}
		c.rings.forget(r.address)
	}
}

func (c leaver) handOverOne(r *ring, w *waiter) {
	if w.o.choice&localOnly != 0 {
		if r.remove(w, errNobodyLeft) {
			c.rings.dead(r.address, &w.o, fmt.Errorf("%w of %q on this node (LocalOnly): %w", ErrNoConsumer, r.address, errNobodyLeft))
		}
		return
	}
	l := c.stayer()
	if l == nil || !r.remove(w, nil) {
		return
	}
	if !l.handOver(r, &w.o) { // it has no room, or has ended: later
		c.rings.reroute(r.address, &w.o, false)
	}
}

// orphans returns the sends that were sent back for which the ring has no route, and
// no key that is held.
func (r *ring) orphans() (ws []*waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set := r.routes.Load()
	if r.line == nil || set.holding != nil {
		return nil
	}
	lists := [][]*waiter{r.line.any.back}
	for _, l := range r.line.lanes {
		lists = append(lists, l.back)
	}
	for _, w := range slices.Concat(lists...) {
		here := w.o.choice&localOnly != 0
		if w.o.head.Kind() == kindSend && (here || set.len() == 0) {
			ws = append(ws, w)
		}
	}
	return ws
}

// stayer returns the link to a node that stays, nil if there is none.
func (c leaver) stayer() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.members.links {
		if l.isUp() {
			return l
		}
	}
	return nil
}

// handOver writes a message for the peer to wait with. It reports false if that
// cannot be now.
func (l *link) handOver(r *ring, o *outgoing) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	large := len(o.body) > chunked
	if !l.open() || l.routes.theirs >= theirsLeaving || len(l.buf) >= bufferCap || large && !l.bulks.takesBulk() {
		return false
	}
	h := frame.Head{
		frame.FKind: kindSend, frame.FChoice: uint64(o.choice), frame.FCodec: o.head.Codec(), frame.FHops: o.head.Hops(),
	}
	rest := frame.AppendAddress(l.codecs.field(o.codec), r.address)
	if large {
		l.handOverLargeLocked(r, o, h, rest)
		return true
	}
	h[frame.FTimeLeft] = l.leftLocked(o.deadline)
	l.buf = append(frame.Append(l.buf, frame.Handover, &h, o.header, rest, len(o.body)), o.body...)
	l.given = append(l.given, handed{r.address, *o})
	l.wakeLocked()
	return true
}

// endHandovers tells of what was handed over on a link that has ended before the peer
// had read it all, as far as this node knows.
func (l *link) endHandovers() {
	l.mu.Lock()
	if errors.Is(l.err, errGoodbye) || errors.Is(l.err, ErrClosed) {
		l.given = nil
	}
	given := l.given
	l.mu.Unlock()
	for _, g := range given {
		l.rings.dead(g.address, &g.o, fmt.Errorf("%w to %s, to which it was handed over and may have come", ErrLinkLost, l.peer.Name))
	}
}

// gotHandover waits with a message for a peer that leaves. It takes as many bytes of
// a peer as windows may take of the pool. owned says that the body is not in the
// read buffer.
func (r *receiver) gotHandover(f *frame.Frame, owned bool) error {
	if !r.parting.Load() || f.Kind() != kindSend {
		return fmt.Errorf("%w: handover of kind %d by a peer that stays or has no reason to", frame.ErrMalformed, f.Kind())
	}
	address := string(f.Address)
	if err := checkAddress(address); err != nil {
		return fmt.Errorf("%w: handover: %v", frame.ErrMalformed, err)
	}
	c := r.rings
	o := outgoing{
		header: f.Header, body: f.Body, owned: true, cost: cost(len(f.Body), f.Header),
		deadline: r.deadline(f), codec: c.codecs.number(f),
	}
	if !owned {
		o.body = slices.Clone(f.Body)
	}
	o.head[frame.FKind], o.head[frame.FCodec], o.head[frame.FHops] = kindSend, f.Codec(), f.Hops()
	o.choose(choice(f.Choice()).elsewhere())
	r.handedOver += o.cost
	switch {
	case o.codec == codecUnknown:
		c.dead(address, &o, c.noCodec("a message that a leaving node handed over", describeCodec(f.Codec(), f.CodecName)))
	case r.handedOver > c.memory:
		c.dead(address, &o, errHandedOver)
	default:
		c.reroute(address, &o, false)
	}
	c.leave.recheck()
	return nil
}

var errLateHandover = errors.New("a leaving node has handed it over too late")

var errHandedOver = errors.New("a leaving node has handed over more than this one keeps for it (WithMemory)")

// elsewhere is what is left of a choice on another node than its sender's: its key.
func (ch choice) elsewhere() choice {
	if ch&byKey == 0 {
		return 0
	}
	return ch &^ (localOnly | localFirst | sameTag | toOne)
}
