package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// RequestAll sends a request to each consumer of the address that is known now,
// on all nodes, and waits for their replies, until ctx ends or for 30 s ([Within]). It
// returns the replies in the order in which they came, and with them an error
// that joins what went wrong with the others, each naming its node; errors.Is
// and errors.As find them. A request that has no answer by then fails with the
// error of ctx, and its handler's context ends.
//
// Each consumer is asked once and answers for itself: one that closes before it
// has begun with its request fails with [ErrClosed], one whose link ends with
// [ErrLinkLost], and the request goes to no other; one that comes meanwhile is
// not asked. A body over 64 KiB is sent to each of them. Without a consumer the
// error is [ErrNoConsumer], as with Request. Options: [WithHeader],
// [LocalOnly], [Within].
func (eb *EventBus) RequestAll(ctx context.Context, address string, body any, opts ...CallOption) ([]*Message, error) {
	if out := eb.core.own.out; out != nil {
		return out.interceptAll(ctx, address, body, opts)
	}
	return eb.core.sender.requestAll(ctx, address, body, opts)
}

// requestAll asks all consumers of an address at once.
func (s *sender) requestAll(ctx context.Context, address string, body any, opts []CallOption) ([]*Message, error) {
	var o outgoing
	if _, _, err := s.prepare(ctx, &o, VerbRequestAll, kindRequest, address, body, opts); err != nil {
		return nil, err
	}
	o.due(s.services) // of all of them
	routes, err := s.askable(ctx, address, &o)
	if err != nil {
		s.asked(nil, address, timing{}, err)
		return nil, err
	}
	if !o.owned { // one copy for all; it may be with one of them after the call
		o.body, o.owned = slices.Clone(o.body), true
	}
	o.choose(o.choice | toOne)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		replies []*Message
		errs    []error
	)
	for _, rt := range routes {
		o := o
		o.only = rt
		wg.Go(func() { // ends with ctx or by the deadline
			asked := s.asks(rt.ring())
			m, err := s.ask(ctx, nil, address, &o)
			s.asked(rt.ring(), address, asked, err)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("consumer on %s: %w", rt.node(&s.self), err))
			} else {
				replies = append(replies, m)
			}
		})
	}
	wg.Wait()
	return replies, errors.Join(errs...)
}

// askable returns the routes to the consumers that may get o. With none it waits
// while the first link to a member is coming up.
func (s *sender) askable(ctx context.Context, address string, o *outgoing) ([]*route, error) {
	for {
		if s.leave.at(busFinishes) {
			return nil, fmt.Errorf("%w: requests to all of %q", ErrClosed, address)
		}
		r := s.rings.dir.get(address)
		if r != nil && r.routes.Load().len() > 0 {
			routes := slices.DeleteFunc(r.routes.Load().all(), func(rt *route) bool {
				return o.choice&localOnly != 0 && rt.link() != nil
			})
			if len(routes) == 0 {
				return nil, r.closedTo(o)
			}
			return routes, nil
		}
		if err := s.awaitLink(ctx, o, address); err != nil {
			return nil, err
		}
	}
}

// node names the node of the route's consumer.
func (rt *route) node(own *self) string {
	if rt.link() != nil {
		return rt.link().peer.Name
	}
	if name := own.name(); name != "" {
		return name
	}
	return "this node"
}

// closed says why a route that has gone takes no request.
func (rt *route) closed() error {
	if l := rt.link(); l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.err != nil {
			return fmt.Errorf("%w to %s; the handler has not run", ErrLinkLost, l.peer)
		}
	}
	return errConsumerClosed
}
