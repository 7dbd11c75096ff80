package bus

import (
	"context"
	"log/slog"
	"time"

	"github.com/runrig-go/runrig/bus/internal/guard"
)

// EventBus is an event bus, or a scope of one. Make one with [New]; its zero value
// is of no use. Its methods may be called concurrently.
type EventBus struct {
	core  *core
	scope *scope // nil: none
}

// New returns a bus of this process alone. It has no goroutine and holds no
// resource until it is used; [EventBus.Close] ends what it has then. An option that
// cannot be is a programmer's error: it panics, and so does a nil one.
func New(opts ...Option) *EventBus {
	c := config{log: slog.Default(), drain: 20 * time.Second, memory: 64 << 20, bodyLimit: 16 << 20}
	for _, o := range opts {
		if o == nil {
			panic("bus: New: nil Option")
		}
		o.apply(&c)
	}
	c.log = guard.Logger(c.log)
	return &EventBus{core: newCore(c)}
}

// Consume registers a handler at an address, here and on all linked nodes; see
// [Consumer.Known] for when they know. In a scope it takes turns with the
// scope's other consumers. It is an error if the address is empty or over 255
// bytes, the handler nil, also as a pointer, an option out of range, or the bus
// closing ([ErrClosed]); the consumer is nil then. Options: [WithWindow], [WithConcurrency], [PublishedOnly], [Deferring], [LocalOnly], [Reserved].
func (eb *EventBus) Consume(address string, h Handler, opts ...ConsumeOption) (*Consumer, error) {
	return eb.consume(address, h, opts)
}

// Scope returns the same bus with a turn of its own: of the consumers that are
// registered through it one at a time handles a message, so that what only they
// use needs no lock; those of [WithConcurrency] over 1 run beside them. A handler
// that waits holds up the whole scope.
func (eb *EventBus) Scope() *EventBus {
	return &EventBus{core: eb.core, scope: newScope(eb.core)}
}

// Do waits for the turn of the scope, until ctx ends, and holds it while f
// runs; if ctx has ended before, f is not called. Consumers that f registers through the scope are announced when f has
// returned nil; if it returns an error, or panics, they are closed and no
// message ever comes to them. The context of f knows whose turn it holds, so
// that a request which only the scope itself could answer fails with
// [ErrDeadlock], as Do in Do does, also by way of another scope's. On a bus that is no scope Do calls f, and that
// is all.
func (eb *EventBus) Do(ctx context.Context, f func(ctx context.Context) error) error {
	if eb.scope == nil {
		return f(ctx)
	}
	return eb.scope.do(ctx, f)
}

// Busy returns for how long, in all, somebody has held the turn of the scope: its
// consumers' handlers, but those of [WithConcurrency] over 1, and functions of Do.
// The share of a time that it grows by is how busy the scope was. It is 0 on a bus
// that is no scope.
func (eb *EventBus) Busy() time.Duration {
	if eb.scope == nil {
		return 0
	}
	return eb.scope.busyTime()
}

// Peers returns the nodes that are linked and have told all their consumers.
func (eb *EventBus) Peers() []Peer { return eb.core.members.peers() }

// Logger returns where the bus logs, see [WithLogger], for what works on it.
func (eb *EventBus) Logger() *slog.Logger { return eb.core.log }

// Stats returns the counters.
func (eb *EventBus) Stats() Stats { return eb.core.statistics() }

// Done returns a channel that is closed when the bus is closed and no link is
// left.
func (eb *EventBus) Done() <-chan struct{} { return eb.core.leave.over }

// Close leaves. It closes all consumers: what they have not handled goes back
// to its senders, who give it to other consumers. It waits until running
// handlers have ended, which may still send and request, and until what this
// node has sent is settled and the questions that it was asked
// ([Message.Request]) are answered or over, then says goodbye on all links.
// Calls return [ErrClosed] once the handlers have ended, Consume from the
// start.
//
// What was sent back here and has no consumer on any node is handed over to a node
// that stays, which waits for one in this node's place, until the message's
// deadline. If none stays, as all close at once, this node waits 1.5 s for one to
// come, counted from when the last of them had work; then what nobody is left to
// take is dead ([DeadLetter]), and all are gone. Requests of this node's that were sent
// back wait here, as their callers do: half the drain time if another node stays.
//
// Close takes no longer than the drain time, 20 s unless [WithDrainTimeout]
// says otherwise, and two seconds. If something was left, it says what;
// contexts of handlers that still run have ended then. It also returns an error for
// each link that broke meanwhile with something under way on it. Closing again waits
// for the first Close and returns the same. A handler must not wait for Close, which
// waits for the handler.
func (eb *EventBus) Close() error { return leaver{eb.core}.close() }
