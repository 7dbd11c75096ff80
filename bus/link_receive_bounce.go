package bus

import (
	"fmt"
	"slices"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// gotBounce takes a message back and routes it elsewhere; owned says that the
// body is not in the read buffer.
func (r *receiver) gotBounce(f *frame.Frame, owned bool) error {
	rt := r.routes.get(f.Route())
	if rt == nil || f.Kind() != kindSend && f.Kind() != kindRequest {
		return fmt.Errorf("%w: bounce of kind %d of route %d", frame.ErrMalformed, f.Kind(), f.Route())
	}
	cost := cost(len(f.Body), f.Header)
	if err := r.routes.owes(rt, uint64(cost), 1); err != nil {
		return err
	}
	o := outgoing{
		header: f.Header, body: f.Body, owned: true, cost: cost,
		deadline: r.times.deadline(f, r.clock.now()), back: r.peer.Name,
	}
	if !owned {
		o.body = slices.Clone(f.Body)
	}
	if o.codec = r.codecs.number(f); o.codec == codecUnknown {
		return fmt.Errorf("%w: bounce of route %d with %s, which this node cannot have used", frame.ErrMalformed, f.Route(), describeCodec(f.Codec(), f.CodecName))
	}
	o.head[frame.FKind], o.head[frame.FCodec], o.head[frame.FHops] = f.Kind(), f.Codec(), f.Hops()
	ended := false
	if f.Kind() == kindRequest {
		o.call = r.pend.take(f.ID())
		ended = o.call == nil
	}
	if !ended { // it is placed, or waits, before it is settled: so leaving sees it in one of the two counts
		o.chosen(f.Choice())
		r.rings.reroute(rt.home.address, &o, false)
	}
	return r.bounced(rt, cost)
}

// bounced books a message that was sent back.
func (r *receiver) bounced(rt *route, cost int64) error {
	if err := r.routes.settled(rt, uint64(cost), 1, 0); err != nil {
		return err
	}
	r.stats.add(countBounced, 1)
	rt.home.book(countBounced, 1)
	r.leave.recheck()
	return nil
}

// gotLateBounce ends a message that was sent back too late to be taken in.
func (r *receiver) gotLateBounce(f *frame.Frame, cost int64) error {
	rt := r.routes.get(f.Route())
	if rt == nil {
		return fmt.Errorf("%w: bounce of route %d, which is not there", frame.ErrMalformed, f.Route())
	}
	if err := r.routes.owes(rt, uint64(cost), 1); err != nil {
		return err
	}
	o := outgoing{header: f.Header, cost: cost, back: r.peer.Name}
	o.head[frame.FKind] = f.Kind()
	if f.Kind() == kindRequest {
		o.call = r.pend.take(f.ID())
	}
	if f.Kind() == kindSend || o.call != nil {
		r.rings.dead(rt.home.address, &o, rt.home.late(&o))
	}
	return r.bounced(rt, cost)
}
