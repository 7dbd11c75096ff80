package busotel

import (
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name of what is made here, to OpenTelemetry.
const scope = "github.com/runrig-go/runrig/bus/busotel"

// Option configures traces or metrics; what is for the other does nothing.
type Option interface{ apply(*config) }

type config struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	propagator propagation.TextMapPropagator
	links      bool
	bodies     bool
	filter     func(address string) bool
	attributes []attribute.KeyValue
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// WithTracerProvider sets who makes spans. The default is the global one.
func WithTracerProvider(p trace.TracerProvider) Option {
	return optionFunc(func(c *config) { c.tracers = p })
}

// WithMeterProvider sets who makes instruments. The default is the global one.
func WithMeterProvider(p metric.MeterProvider) Option {
	return optionFunc(func(c *config) { c.meters = p })
}

// WithPropagator sets how a trace goes in headers. The default is that of W3C,
// traceparent and tracestate.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return optionFunc(func(c *config) { c.propagator = p })
}

// WithLinks makes a consumer's span the first of a trace of its own, with a link to the
// caller's. By default it is the caller's child.
func WithLinks() Option { return optionFunc(func(c *config) { c.links = true }) }

// WithBodySize adds the size of bodies, as they are encoded, to consumers' spans.
func WithBodySize() Option { return optionFunc(func(c *config) { c.bodies = true }) }

// WithFilter traces only the addresses for which keep returns true. It is called for
// each message, at the same time too.
func WithFilter(keep func(address string) bool) Option {
	return optionFunc(func(c *config) { c.filter = keep })
}

// WithAttributes adds attributes to each span.
func WithAttributes(all ...attribute.KeyValue) Option {
	return optionFunc(func(c *config) { c.attributes = append(c.attributes, all...) })
}

func configure(opts []Option) config {
	c := config{tracers: otel.GetTracerProvider(), meters: otel.GetMeterProvider(), propagator: propagation.TraceContext{}}
	for _, o := range opts {
		o.apply(&c)
	}
	return c
}

// traces reports whether an address is traced: what the library's own packages say to
// each other is not.
func (c *config) traces(address string) bool {
	return !strings.HasPrefix(address, "_runrig.") && (c.filter == nil || c.filter(address))
}
