package verticle

import (
	"context"
	"fmt"
	"slices"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle/internal/guard"
)

// consumer is a consumer of a deployment.
type consumer struct {
	*bus.Consumer
	beside bool // the turn
}

// over reports whether the consumer was closed and has nothing to do any more.
func (c consumer) over() bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// Consume registers a handler at an address until the deployment ends, or is
// restarted; see [bus.EventBus.Consume] for its parameters and errors. The
// consumer that it returns can be paused, and closed before that. In Start,
// the consumer is announced when Start has returned nil; later, at once, and then
// Consume does not wait for other nodes to know it. While a function of Go has
// the turn by Do, or one of a timer runs, a consumer that anybody registers is
// announced at its end, and closed if it fails.
//
// The handler holds the deployment's turn while it runs. With
// [bus.WithConcurrency] over 1 it does not: up to so many of its calls run beside
// the turn, for work that blocks, and take the turn where they need the
// verticle's fields by Do of [Deployment.EventBus].
//
// Consume fails with [ErrUndeployed] once the deployment is to end, and between
// its end and its start in a restart.
func (d *Deployment) Consume(address string, h bus.Handler, opts ...bus.ConsumeOption) (*bus.Consumer, error) {
	l := d.current()
	d.mu.Lock() // also while registering: what is not in the list when the end begins never is
	defer d.mu.Unlock()
	if l.isEnding() {
		return nil, d.failed(fmt.Sprintf("consume %q", address), ErrUndeployed)
	}
	beside := besideTurn(opts)
	c, err := d.eb.Consume(address, l.guard(address, h, beside), opts...)
	if err != nil {
		return nil, d.failed(fmt.Sprintf("consume %q", address), err)
	}
	if len(l.consumers) == cap(l.consumers) {
		l.consumers = slices.DeleteFunc(l.consumers, consumer.over)
	}
	l.consumers = append(l.consumers, consumer{c, beside})
	return c, nil
}

// besideTurn reports whether the options are of a consumer that leaves the turn.
func besideTurn(opts []bus.ConsumeOption) (beside bool) {
	for _, o := range opts {
		if c, ok := o.(interface{ Concurrency() int }); ok {
			beside = c.Concurrency() > 1
		}
	}
	return beside
}

// guard returns the handler to register in place of h: h itself where nothing
// needs to be known of its calls.
func (l *life) guard(address string, h bus.Handler, beside bool) bus.Handler {
	if guard.IsNil(h) {
		return h // which the bus refuses
	}
	if l.d.supervision != nil {
		h = &guarded{l, address, h}
	}
	if beside {
		next := h
		h = bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error { return next.Handle(l.d.mark(ctx), m) })
	}
	return h
}

// guarded is a handler whose panic is its deployment's failure.
type guarded struct {
	life    *life
	address string
	next    bus.Handler
}

// Handle calls the handler. A panic, or the end of the goroutine, goes on to the
// bus, which answers and logs it.
func (g *guarded) Handle(ctx context.Context, m *bus.Message) error {
	returned := false
	defer func() {
		if returned {
			return
		}
		step := fmt.Sprintf("handler of %q", g.address)
		p := recover()
		if p == nil {
			g.life.panicked(step, errGoexit)
			return
		}
		g.life.d.keepStack()
		g.life.panicked(step, panicError(p))
		panic(p)
	}()
	err := g.next.Handle(ctx, m)
	returned = true
	return err
}

// panicked ends the life because of what has the turn. The consumers are closed at
// once, while it still has: no handler sees what it has left.
func (l *life) panicked(step string, err error) {
	l.fail(step, err)
	l.closeConsumers()
}
