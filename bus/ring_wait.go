package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// open reports whether any route may take o, now or later. If o awaits a consumer, the next
// consumer may take it, unless the consumers that are there wait for o's sender.
func (r *ring) open(o *outgoing) bool {
	to, held := r.aim(o)
	return held != nil || to.any(o.fits) || o.awaits && !to.any(o.blocks)
}

// closedTo says why no route of the ring may take o.
func (r *ring) closedTo(o *outgoing) error {
	to, _ := r.aim(o)
	if to.any(o.blocks) {
		return fmt.Errorf("%w: only consumers in the caller's own scope listen on %q; they cannot answer before the caller returns", ErrDeadlock, r.address)
	}
	switch {
	case o.choice&toOne != 0:
		return o.onlyRoute().closed()
	case o.choice&byKey != 0 && r.routes.Load().len() > 0:
		return fmt.Errorf("%w of %q that all nodes know (ByKey)", ErrNoConsumer, r.address)
	case o.choice&localOnly != 0:
		return fmt.Errorf("%w of %q on this node (LocalOnly)", ErrNoConsumer, r.address)
	}
	return r.noConsumer()
}

// noConsumer is the error of a ring where no consumer takes turns.
func (r *ring) noConsumer() error {
	err := r.registry.noConsumer(r.address)
	if n := r.routes.Load().hearing().len(); n > 0 {
		return fmt.Errorf("%w; consumers that hear publishes only (PublishedOnly): %d", err, n)
	}
	return err
}

var (
	errLookAgain      = errors.New("the routes of the address have changed")
	errEnded          = errors.New("the request has ended")
	errConsumerClosed = fmt.Errorf("%w: the consumer, before it handled the request", ErrClosed)
)

// wait queues o until a route takes it: the goroutine that gives credit back posts it. It
// returns errLookAgain when no route is left that could take o.
func (r *ring) wait(ctx context.Context, o *outgoing) (*route, error) {
	o.head[frame.FStarved] = 1
	deadline := o.due(r.services) // before o is copied, so that the deadline holds for all waits of the call
	w := &waiter{o: *o, ready: make(chan struct{})}
	w.o.flushes = false
	if err := r.queue(w); err != nil {
		return nil, err
	}
	r.flush()

	began := r.clock.now()
	t := time.NewTimer(time.Duration(deadline - began))
	defer t.Stop()
	select {
	case <-w.ready:
	case <-ctx.Done():
		r.remove(w, r.inVain(&w.o, ctx.Err()))
	case <-t.C:
		r.remove(w, r.inVain(&w.o, context.DeadlineExceeded))
	case <-r.leave.gone:
		r.remove(w, r.busy(context.DeadlineExceeded))
	}
	<-w.ready // removed, or posted meanwhile
	r.end(spanStall, timing{began, 1}, 1)
	if w.rt == nil {
		r.registry.forget(r.address)
	}
	return w.rt, w.err
}

// queue lets w wait for room, unless w would wait in vain.
func (r *ring) queue(w *waiter) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.leave.at(busGone):
		return fmt.Errorf("%w: message to %q", ErrClosed, r.address)
	case r.gone || !r.open(&w.o):
		return errLookAgain
	case r.holdsTurnOfAll(&w.o):
		return fmt.Errorf("%w: consumers of %q have no room, and all are in the caller's own scope", ErrDeadlock, r.address)
	}
	r.enqueueLocked(w)
	return nil
}

// hopes reports whether a call may wait for room: a route could take it that its
// caller does not hold up.
func (r *ring) hopes(o *outgoing) bool { return r.open(o) && !r.holdsTurnOfAll(o) }

// inVain is the error of a call that has waited in vain, for a consumer or for room at
// one: why says what ended the wait.
func (r *ring) inVain(o *outgoing, why error) error {
	if to, held := r.aim(o); o.awaits && held == nil && !to.any(o.fits) && !r.leave.at(busGone) {
		return fmt.Errorf("%w, and none came in time: %w", r.closedTo(o), why)
	}
	return r.busy(why)
}

// busy is the error of a call whose wait for room has ended: why says by what.
func (r *ring) busy(why error) error {
	if r.leave.at(busGone) {
		return fmt.Errorf("%w while a message waited for room at a consumer of %q", ErrClosed, r.address)
	}
	return fmt.Errorf("%w: no consumer of %q%s had room in time: %w", ErrBusy, r.address, r.nodes(), why)
}

// nodes names the nodes whose consumers a message may have waited for, a few of
// them. A bus without a cluster has none.
func (r *ring) nodes() string {
	if r.self.boot.Load() == 0 {
		return ""
	}
	routes := r.routes.Load()
	var names []string
	if routes.own() {
		names = append(names, "this node")
	}
	for _, l := range routes.links(nil) {
		names = append(names, l.peer.Name)
	}
	switch n := len(names); {
	case n == 0:
		return ""
	case n > 3:
		names = append(names[:3], fmt.Sprintf("%d others", n-3))
	}
	return " on " + strings.Join(names, ", ")
}

// holdsTurnOfAll reports whether there are consumers that could take o, and the
// sender holds up all of them.
func (r *ring) holdsTurnOfAll(o *outgoing) bool {
	if o.turn == (turn{}) {
		return false
	}
	to, _ := r.aim(o)
	some := false
	return !to.any(func(rt *route) bool {
		if o.choice&localOnly != 0 && rt.link() != nil {
			return false
		}
		blocked := o.turn.blocks(rt.consumer().holds())
		some = some || blocked
		return !blocked
	}) && some
}

// flush sends on its way what the links of the ring hold, so that the credit
// can come for which somebody is about to wait.
func (r *ring) flush() {
	for _, l := range r.routes.Load().links(nil) {
		l.soon()
	}
}
