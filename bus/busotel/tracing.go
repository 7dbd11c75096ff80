package busotel

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/runrig-go/runrig/bus"
)

// system is the value of messaging.system.
var system = semconv.MessagingSystemKey.String("runrig")

// Tracing is the interceptors that carry traces. Its methods are for bus.WithOutbound and
// bus.WithInbound, of one bus or of several.
type Tracing struct {
	config
	tracer trace.Tracer
}

// NewTracing returns the interceptors.
func NewTracing(opts ...Option) *Tracing {
	c := configure(opts)
	return &Tracing{config: c, tracer: c.tracers.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))}
}

// A kind is how a verb is traced.
type kind struct {
	name string // of the operation
	kind trace.SpanKind
}

// kinds are the verbs that have spans.
var kinds = map[string]kind{
	bus.VerbSend:       {"send", trace.SpanKindProducer},
	bus.VerbPublish:    {"publish", trace.SpanKindProducer},
	bus.VerbRequest:    {"request", trace.SpanKindClient},
	bus.VerbRequestAll: {"request", trace.SpanKindClient},
}

// Outbound puts a span around each call, and sends it along.
func (t *Tracing) Outbound(next bus.Caller) bus.Caller {
	return func(ctx context.Context, call *bus.Call) (*bus.Message, error) {
		k, ok := kinds[call.Verb]
		if !ok || !t.traces(call.Address) {
			return next(ctx, call)
		}
		ctx, span := t.tracer.Start(ctx, k.name+" "+call.Address, trace.WithSpanKind(k.kind),
			trace.WithAttributes(t.about(k.name, semconv.MessagingOperationTypeSend, call.Address)...))
		defer span.End()
		if span.SpanContext().IsSampled() {
			t.propagator.Inject(ctx, carrier(call.Header))
		}
		m, err := next(ctx, call)
		note(span, err)
		return m, err
	}
}

// Inbound puts a span around each handler's work on a message.
func (t *Tracing) Inbound(next bus.Handler) bus.Handler {
	return bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		if !t.traces(m.Address()) {
			return next.Handle(ctx, m)
		}
		opts := []trace.SpanStartOption{
			trace.WithSpanKind(trace.SpanKindConsumer),
			trace.WithAttributes(t.about("process", semconv.MessagingOperationTypeProcess, m.Address())...),
		}
		if t.bodies {
			opts = append(opts, trace.WithAttributes(semconv.MessagingMessageBodySize(len(m.Body))))
		}
		from := t.propagator.Extract(ctx, carrier(m.Header()))
		if t.links {
			opts = append(opts, trace.WithNewRoot())
			if s := trace.SpanContextFromContext(from); s.IsValid() {
				opts = append(opts, trace.WithLinks(trace.Link{SpanContext: s}))
			}
		} else {
			ctx = from
		}
		ctx, span := t.tracer.Start(ctx, "process "+m.Address(), opts...)
		defer span.End()
		err := next.Handle(ctx, m)
		note(span, err)
		return err
	})
}

func (t *Tracing) about(operation string, kind attribute.KeyValue, address string) []attribute.KeyValue {
	all := make([]attribute.KeyValue, 0, 4+len(t.attributes))
	all = append(all, system, semconv.MessagingOperationName(operation), kind, semconv.MessagingDestinationName(address))
	return append(all, t.attributes...)
}

// note notes how a call or a handler ended.
func note(span trace.Span, err error) {
	if err == nil || !span.IsRecording() {
		return
	}
	span.SetAttributes(semconv.ErrorTypeKey.String(bus.Class(err)))
	span.SetStatus(codes.Error, err.Error())
}

// carrier is headers as propagators want them.
type carrier bus.Header

// Get returns a header's first value.
func (c carrier) Get(key string) string { return bus.Header(c).Get(key) }

// Set sets a header.
func (c carrier) Set(key, value string) { bus.Header(c).Set(key, value) }

// Keys returns the names of all headers.
func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, strings.ToLower(k))
	}
	return keys
}
