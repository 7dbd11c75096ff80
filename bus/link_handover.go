package bus

import (
	"errors"
	"fmt"
	"slices"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// handed is a message that was handed over on a link.
type handed struct {
	address string
	o       outgoing
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
