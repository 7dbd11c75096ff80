package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// outgoing is a message on its way to a consumer.
type outgoing struct {
	head     frame.Head
	header   Header
	body     []byte
	owned    bool // the body's memory is nobody else's
	cost     int64
	deadline int64                    // by the bus's clock; 0: not asked for yet, see due
	call     *call                    // of a request
	turn     turn                     // that the sender holds
	codec    uint8                    // of the body
	choice   choice                   // who may get it
	awaits   bool                     // it waits where there is no consumer: see Await
	only     interface{ gone() bool } // with toOne, the *route that alone may take it
	flushes  bool                     // whoever posts it flushes the link
	done     chan error               // of a large body: see bulkOut
	placed   func()                   // of a request: see Placed; nil once it was called
	back     string                   // the name of the node that has sent it back last
}

// ended reports whether nobody waits for the answer any more.
func (o *outgoing) ended() bool { return o.call != nil && o.call.ended.Load() }

// defaultTimeout is the deadline of calls whose context has none.
const defaultTimeout = 30 * time.Second

// onlyRoute returns the route that alone may take the message; nil if any may.
func (o *outgoing) onlyRoute() *route {
	rt, _ := o.only.(*route)
	return rt
}

// prepare fills in o for a call, and returns the ring of the address, which may be nil.
// It reports an error for what is wrong with the call's arguments.
func (s *sender) prepare(ctx context.Context, o *outgoing, verb string, kind uint64, address string, body any, opts []CallOption) (r *ring, set *callOptions, err error) {
	if r = s.rings.dir.get(address); r == nil { // else the address is in order
		if err := checkAddress(address); err != nil {
			return nil, nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("bus: %s to %q was not begun: %w", verb, address, err)
	}
	if len(opts) > 0 {
		if set, err = collect(verb, opts); err != nil {
			return nil, nil, err
		}
		o.header = set.header
	}
	if err := checkReserved(address, set != nil && set.reserved); err != nil {
		return nil, nil, err
	}
	b, codec, err := s.codecs.encode(body)
	if err != nil {
		return nil, nil, err
	}
	if err := s.checkSize("a message to", address, o.header, b); err != nil {
		return nil, nil, err
	}
	o.body, o.owned, o.codec = b, !s.codecs.isShared(codec), codec
	o.cost = cost(len(b), o.header)
	o.head[frame.FKind], o.head[frame.FCodec] = kind, s.codecs.onWire(codec)
	if set != nil {
		o.choose(s.self.choice(set))
		o.placed, o.awaits = set.placed, set.await
	}
	o.setDeadline(ctx, &s.clock, set)
	o.turn = turnOf(ctx)
	return r, set, nil
}

// setDeadline takes over the deadline of ctx, or that of the options if it is earlier. Where
// there is none, the clock is read only if somebody asks.
func (o *outgoing) setDeadline(ctx context.Context, clock *clock, set *callOptions) {
	if d, ok := ctx.Deadline(); ok {
		o.deadline = clock.at(d)
	}
	if set == nil || set.within == nil {
		return
	}
	at := clock.now() + min(int64(*set.within), farAway)
	if o.deadline == 0 || at < o.deadline {
		o.deadline = at
	}
}

// due returns the deadline.
func (o *outgoing) due(s *services) int64 {
	if o.deadline == 0 {
		o.deadline = s.clock.roughly() + int64(defaultTimeout)
	}
	return o.deadline
}

// whyOver says why a call that has waited is over: the error of its context, or that
// of one whose deadline has come. It is nil if the call goes on.
func (o *outgoing) whyOver(ctx context.Context, s *services) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.clock.now() >= o.due(s) {
		return context.DeadlineExceeded
	}
	return nil
}

// sender is what sends for the calls of the bus.
type sender struct {
	*services
	rings   *rings
	members *members
	gossip  *gossip
}

// Send sends a message to one consumer of the address, on any node: they take
// turns, among those that have room. The body is encoded at once and may be
// reused when Send returns: a []byte as it is, a type of [WithCodec] as that
// says, a pointer to a protobuf message as protobuf, nil as nothing, everything
// else as JSON, which a json.RawMessage is already.
//
// Send returns nil when the message is on its way, in order behind what was sent
// before; that it was handled only a [EventBus.Request] tells. When no consumer
// has room it waits, until ctx ends or for 30 s ([Within]), and returns [ErrBusy] then.
// Without a consumer it returns [ErrNoConsumer] at once, unless it has the option
// [Await] or the first link to a member is just coming up; so it does when the
// last one goes while it waits for room. Other errors are [ErrTooLarge], [ErrClosed],
// [ErrDeadlock], and those of the encoding. Options: [WithHeader], [LocalOnly],
// [LocalFirst], [SameTag], [ByKey], [Await], [Within].
func (eb *EventBus) Send(ctx context.Context, address string, body any, opts ...CallOption) error {
	if out := eb.core.own.out; out != nil {
		_, err := out.intercept(ctx, VerbSend, address, body, opts, nil)
		return err
	}
	return eb.core.sender.send(ctx, address, body, opts)
}

func (s *sender) send(ctx context.Context, address string, body any, opts []CallOption) error {
	var o outgoing
	r, _, err := s.prepare(ctx, &o, VerbSend, kindSend, address, body, opts)
	if err != nil {
		return err
	}
	_, err = s.post(ctx, r, address, &o)
	return err
}

// Request sends a message to one consumer, as Send does, and waits for its
// reply, until ctx ends or for 30 s ([Within]): it then returns an error that matches that
// of the context, and the handler's context ends. When the consumer says no,
// the error is a *[ReplyError]. When the link to its node ends, Request returns
// [ErrLinkLost] at once; with [Idempotent] it tries another consumer. A
// consumer may answer with a question, which [Message.WantsReply] tells and the
// caller then answers; see [Message.Request]. Options: [WithHeader],
// [Idempotent], [LocalOnly], [LocalFirst], [SameTag], [ByKey], [Await], [Within],
// [Placed], [ReplyHeader].
func (eb *EventBus) Request(ctx context.Context, address string, body any, opts ...CallOption) (*Message, error) {
	if out := eb.core.own.out; out != nil {
		return out.intercept(ctx, VerbRequest, address, body, opts, nil)
	}
	return eb.core.sender.request(ctx, address, body, opts)
}

func (s *sender) request(ctx context.Context, address string, body any, opts []CallOption) (*Message, error) {
	var o outgoing
	r, set, err := s.prepare(ctx, &o, VerbRequest, kindRequest, address, body, opts)
	if err != nil {
		return nil, err
	}
	asked := s.asks(r)
	for {
		m, err := s.ask(ctx, r, address, &o)
		if err == nil && set != nil && set.answer != nil {
			*set.answer = m.Header()
		}
		if err == nil || set == nil || !set.idempotent || !errors.Is(err, ErrLinkLost) || o.whyOver(ctx, s.services) != nil {
			s.asked(r, address, asked, err)
			return m, err
		}
	}
}

// ask sends a request once and waits for its answer.
func (s *sender) ask(ctx context.Context, r *ring, address string, o *outgoing) (*Message, error) {
	call := s.calls.get(o.due(s.services))
	call.turn, call.choice = o.turn, o.choice
	o.call, o.flushes = call, true
	if len(o.body) > chunked { // it may be taken back: see resetLocked
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, s.clock.timeOf(call.deadline))
		defer cancel()
	}
	rt, err := s.post(ctx, r, address, o)
	if err != nil {
		return nil, err
	}
	if rt.link() != nil {
		rt.link().flushRequest()
	}
	if f := o.placed; f != nil {
		o.placed = nil
		f()
	}
	return s.calls.await(ctx, call).result(address)
}

// post delivers a message and returns when all of it is written, to the link's
// buffer at least.
func (s *sender) post(ctx context.Context, r *ring, address string, o *outgoing) (*route, error) {
	for {
		if len(o.body) > chunked {
			o.done = make(chan error, 1)
		}
		rt, err := s.deliver(ctx, r, address, o)
		if err != nil || rt.link() == nil || o.done == nil {
			return rt, err
		}
		if err = rt.link().ends.await(ctx, o, messageTo(address)); err != errAgain {
			return rt, err
		}
		if why := o.whyOver(ctx, s.services); why != nil {
			return nil, rt.ring().busy(why)
		}
	}
}

// deliver posts o to a route of the ring, or of that which the address has meanwhile, or
// lets it wait for one.
func (s *sender) deliver(ctx context.Context, r *ring, address string, o *outgoing) (*route, error) {
	for {
		if s.leave.at(busFinishes) {
			return nil, fmt.Errorf("%w: message to %q", ErrClosed, address)
		}
		if only := o.onlyRoute(); only != nil {
			r = only.ring()
		} else if r == nil {
			r = s.rings.dir.get(address)
		}
		if r == nil && o.awaits {
			r = s.rings.get(address)
		}
		if r == nil || o.only == nil && !o.awaits && r.routes.Load().len() == 0 {
			if err := s.awaitLink(ctx, o, address); err != nil {
				return nil, err
			}
		} else if rt, err := r.place(ctx, o); err != errLookAgain {
			return rt, err
		}
		r = nil
	}
}

// awaitLink waits, for a message without a consumer, while a member's first
// link is coming up. It returns nil when the sender is to look again.
func (s *sender) awaitLink(ctx context.Context, o *outgoing, address string) error {
	changed := s.members.linked.wait()
	if r := s.rings.dir.get(address); r != nil && r.routes.Load().len() > 0 {
		return nil
	}
	if left := min(s.members.linkComesUntil(), o.due(s.services)) - s.clock.now(); left > 0 {
		t := time.NewTimer(time.Duration(left))
		defer t.Stop()
		select {
		case <-changed:
			if o.whyOver(ctx, s.services) == nil {
				return nil
			}
		case <-t.C:
		case <-ctx.Done():
		case <-s.leave.gone:
		}
	}
	err := s.noConsumer(address)
	if why := o.whyOver(ctx, s.services); why != nil {
		err = fmt.Errorf("%w: %w", err, why)
	}
	return err
}

func (s *sender) noConsumer(address string) error {
	if r := s.rings.dir.get(address); r != nil {
		return r.noConsumer()
	}
	return s.members.noConsumer(address)
}

// Await waits until this node knows a consumer of the address, on any node, or until
// ctx ends, which may have no deadline: for what must not begin before others are
// there. The error then matches [ErrNoConsumer] and that of ctx; it is [ErrClosed] if
// the bus closes. A consumer may go again at any moment: a call that must not fail
// then has the option [Await].
func (eb *EventBus) Await(ctx context.Context, address string) error {
	return eb.core.sender.await(ctx, address)
}

// await waits until this node knows a consumer of the address.
func (s *sender) await(ctx context.Context, address string) error {
	if err := checkAddress(address); err != nil {
		return err
	}
	for {
		changed := s.members.linked.wait()
		if r := s.rings.dir.get(address); r != nil && r.routes.Load().len() > 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w, and none came in time: %w", s.noConsumer(address), ctx.Err())
		case <-s.leave.gone:
			return fmt.Errorf("%w while a call waited for a consumer of %q", ErrClosed, address)
		}
	}
}
