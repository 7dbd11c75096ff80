package busotel

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/runrig-go/runrig/bus"
)

// instruments are those of a bus.
type instruments struct {
	sent, consumed, discarded, failed metric.Int64ObservableCounter
	links                             metric.Int64ObservableUpDownCounter
}

// ObserveMetrics has the counters of a bus read whenever metrics are collected, until
// stop is called.
func ObserveMetrics(eb *bus.EventBus, opts ...Option) (stop func() error, err error) {
	meter := configure(opts).meters.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL))
	i, err := newInstruments(meter)
	if err != nil {
		return nil, fmt.Errorf("busotel: %w", err)
	}
	r, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		i.observe(o, eb)
		return nil
	}, i.sent, i.consumed, i.discarded, i.failed, i.links)
	if err != nil {
		return nil, fmt.Errorf("busotel: %w", err)
	}
	return r.Unregister, nil
}

func newInstruments(m metric.Meter) (i instruments, err error) {
	for _, c := range []struct {
		to          *metric.Int64ObservableCounter
		name, about string
	}{
		{&i.sent, "messaging.client.sent.messages", "Messages that this node gave to consumers, here or elsewhere."},
		{&i.consumed, "messaging.client.consumed.messages", "Messages that handlers of this node have handled."},
		{&i.discarded, "runrig.messages.discarded", "Messages that no handler got, by why."},
		{&i.failed, "runrig.messages.failed", "Messages whose handler returned an error, or panicked."},
	} {
		if *c.to, err = m.Int64ObservableCounter(c.name, metric.WithUnit("{message}"), metric.WithDescription(c.about)); err != nil {
			return i, err
		}
	}
	i.links, err = m.Int64ObservableUpDownCounter("runrig.links", metric.WithUnit("{link}"), metric.WithDescription("Nodes that this one is linked with."))
	return i, err
}

func (i *instruments) observe(o metric.Observer, eb *bus.EventBus) {
	s := eb.Stats()
	o.ObserveInt64(i.sent, int64(s.Sent), metric.WithAttributes(system, semconv.MessagingOperationName("send")))
	o.ObserveInt64(i.consumed, int64(s.Handled), metric.WithAttributes(system, semconv.MessagingOperationName("process")))
	reason := func(to metric.Int64ObservableCounter, n uint64, why string) {
		o.ObserveInt64(to, int64(n), metric.WithAttributes(attribute.String("reason", why)))
	}
	reason(i.failed, s.Failed, "error")
	reason(i.failed, s.Panics, "panic")
	reason(i.discarded, s.Expired, "expired")
	reason(i.discarded, s.Canceled, "canceled")
	reason(i.discarded, s.Undecodable, "undecodable")
	reason(i.discarded, s.Dropped, "dropped")
	reason(i.discarded, s.CutOff, "cut_off")
	reason(i.discarded, s.Skipped, "skipped")
	reason(i.discarded, s.DeadLetters, "dead_letter")
	reason(i.discarded, s.Unknown, "unknown")
	o.ObserveInt64(i.links, int64(len(eb.Peers())))
}
