package busotel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/busotel"
	"github.com/runrig-go/runrig/cluster/clustertest"
)

// recorder keeps the spans of all nodes.
func recorder(sampler sdktrace.Sampler) (*tracetest.SpanRecorder, *sdktrace.TracerProvider) {
	r := tracetest.NewSpanRecorder()
	return r, sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r), sdktrace.WithSampler(sampler))
}

// traced are the options of a bus with these interceptors.
func traced(t *busotel.Tracing) []bus.Option {
	return []bus.Option{bus.WithOutbound(t.Outbound), bus.WithInbound(t.Inbound)}
}

func consume(t *testing.T, eb *bus.EventBus, address string, h bus.HandlerFunc) {
	t.Helper()
	c, err := eb.Consume(address, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Known(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// attributes are those of a span, by name.
func attributes(s sdktrace.ReadOnlySpan) map[string]string {
	all := map[string]string{}
	for _, kv := range s.Attributes() {
		all[string(kv.Key)] = kv.Value.String()
	}
	return all
}

// byName returns the span of a name, of which there is to be one.
func byName(t *testing.T, spans []sdktrace.ReadOnlySpan, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	i := slices.IndexFunc(spans, func(s sdktrace.ReadOnlySpan) bool { return s.Name() == name })
	if i < 0 {
		t.Fatalf("no span %q", name)
	}
	return spans[i]
}

// chain lets a request to the second node lead to one to the third, and a publish to all.
func chain(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	consume(t, c.Node(1).Bus, "front", func(ctx context.Context, m *bus.Message) error {
		_, err := c.Node(1).Bus.Request(ctx, "back", nil)
		return err
	})
	consume(t, c.Node(2).Bus, "back", func(ctx context.Context, m *bus.Message) error {
		if err := c.Node(2).Bus.Publish(ctx, "news", "x"); err != nil {
			return err
		}
		return m.Reply(ctx, "done")
	})
	for k := range 3 {
		consume(t, c.Node(k).Bus, "news", func(context.Context, *bus.Message) error { return nil })
	}
}

// TestTrace: over three nodes a request is one trace, and each span has the parent that
// led to it.
func TestTrace(t *testing.T) {
	t.Parallel()
	spans, provider := recorder(sdktrace.AlwaysSample())
	tracing := busotel.NewTracing(busotel.WithTracerProvider(provider), busotel.WithAttributes(attribute.String("service", "s")), busotel.WithBodySize())
	clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		chain(t, c)
		if _, err := c.Node(0).Bus.Request(t.Context(), "front", nil); err != nil {
			t.Fatal(err)
		}
		c.Await("all spans have ended", time.Second, func() bool { return len(spans.Ended()) == 8 })
	}, clustertest.WithBus(func(int) []bus.Option { return traced(tracing) }))

	all := spans.Ended()
	var got []string
	for _, s := range all {
		parent := "nobody"
		for _, o := range all {
			if o.SpanContext().SpanID() == s.Parent().SpanID() {
				parent = o.Name()
			}
		}
		if s.SpanContext().TraceID() != all[0].SpanContext().TraceID() {
			t.Errorf("%s is in another trace", s.Name())
		}
		got = append(got, fmt.Sprintf("%s (%s) in %s", s.Name(), s.SpanKind(), parent))
	}
	slices.Sort(got)
	want := []string{
		"process back (consumer) in request back", "process front (consumer) in request front",
		"process news (consumer) in publish news", "process news (consumer) in publish news", "process news (consumer) in publish news",
		"publish news (producer) in process back", "request back (client) in process front", "request front (client) in nobody",
	}
	if !slices.Equal(got, want) {
		t.Errorf("spans\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for name, want := range map[string]map[string]string{
		"request front": {"messaging.system": "runrig", "messaging.operation.name": "request", "messaging.operation.type": "send", "messaging.destination.name": "front", "service": "s"},
		"publish news":  {"messaging.operation.name": "publish", "messaging.operation.type": "send"},
		"process news":  {"messaging.operation.name": "process", "messaging.operation.type": "process", "messaging.destination.name": "news", "messaging.message.body.size": "3"},
	} {
		has := attributes(byName(t, all, name))
		for k, v := range want {
			if has[k] != v {
				t.Errorf("%s: %s is %q, want %q", name, k, has[k], v)
			}
		}
		if _, ok := has["error.type"]; ok {
			t.Errorf("%s has an error: %v", name, has)
		}
	}
}

// TestLinks: with WithLinks each handler begins a trace, linked with its caller's span.
func TestLinks(t *testing.T) {
	t.Parallel()
	spans, provider := recorder(sdktrace.AlwaysSample())
	tracing := busotel.NewTracing(busotel.WithTracerProvider(provider), busotel.WithLinks())
	eb := bus.New(traced(tracing)...)
	defer eb.Close()
	consume(t, eb, "x", func(context.Context, *bus.Message) error { return nil })
	if _, err := eb.Request(t.Context(), "x", nil); err != nil {
		t.Fatal(err)
	}
	asks, does := byName(t, spans.Ended(), "request x"), byName(t, spans.Ended(), "process x")
	if does.Parent().IsValid() || does.SpanContext().TraceID() == asks.SpanContext().TraceID() ||
		len(does.Links()) != 1 || does.Links()[0].SpanContext.SpanID() != asks.SpanContext().SpanID() {
		t.Errorf("parent %v, links %v", does.Parent(), does.Links())
	}
}

// TestErrorsAreClasses: a span that fails has a word for why, at both ends, and its text.
func TestErrorsAreClasses(t *testing.T) {
	t.Parallel()
	spans, provider := recorder(sdktrace.AlwaysSample())
	eb := bus.New(traced(busotel.NewTracing(busotel.WithTracerProvider(provider)))...)
	defer eb.Close()
	consume(t, eb, "no", func(context.Context, *bus.Message) error { return errors.New("not today") })
	_, _ = eb.Request(t.Context(), "no", nil)
	_, _ = eb.Request(t.Context(), "nobody", nil)
	for name, want := range map[string]string{"request no": "refused", "process no": "other", "request nobody": "no_consumer"} {
		s := byName(t, spans.Ended(), name)
		if got := attributes(s)["error.type"]; got != want || s.Status().Code != codes.Error || s.Status().Description == "" {
			t.Errorf("%s: error.type %q, want %q; %+v", name, got, want, s.Status())
		}
	}
}

// TestNotSampled: where nothing is sampled no header is touched, and a trace that its
// caller does not sample stays so.
func TestNotSampled(t *testing.T) {
	t.Parallel()
	spans, provider := recorder(sdktrace.NeverSample())
	eb := bus.New(traced(busotel.NewTracing(busotel.WithTracerProvider(provider)))...)
	defer eb.Close()
	headers := make(chan bus.Header, 1)
	consume(t, eb, "x", func(_ context.Context, m *bus.Message) error { headers <- m.Header(); return nil })
	if _, err := eb.Request(t.Context(), "x", nil, bus.WithHeader("mine", "1")); err != nil {
		t.Fatal(err)
	}
	if h := <-headers; len(h) != 1 || h.Get("mine") != "1" {
		t.Errorf("headers %v", h)
	}
	if len(spans.Ended()) != 0 {
		t.Errorf("%d spans", len(spans.Ended()))
	}
}

// TestNotTraced: replies, the library's own addresses, and those that a filter leaves out
// have no spans.
func TestNotTraced(t *testing.T) {
	t.Parallel()
	spans, provider := recorder(sdktrace.AlwaysSample())
	tracing := busotel.NewTracing(busotel.WithTracerProvider(provider), busotel.WithFilter(func(a string) bool { return a != "quiet" }))
	eb := bus.New(traced(tracing)...)
	defer eb.Close()
	answer := bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, 1) })
	consume(t, eb, "quiet", answer)
	if _, err := eb.Consume("_runrig.x", answer, bus.Reserved()); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"quiet", "_runrig.x"} {
		if _, err := eb.Request(t.Context(), address, nil, bus.Reserved()); err != nil && address != "quiet" {
			t.Fatal(err)
		}
	}
	consume(t, eb, "loud", answer)
	ctx, outer := provider.Tracer("test").Start(t.Context(), "outer")
	if _, err := eb.Request(ctx, "loud", nil); err != nil {
		t.Fatal(err)
	}
	outer.End()
	var names []string
	for _, s := range spans.Ended() {
		names = append(names, s.Name())
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"outer", "process loud", "request loud"}) {
		t.Errorf("spans %q", names)
	}
	if s := byName(t, spans.Ended(), "request loud"); s.Parent().SpanID() != trace.SpanContextFromContext(ctx).SpanID() {
		t.Error("a call is not in the span of its context")
	}
}

// TestMetrics: the counters of the bus are read when metrics are collected.
func TestMetrics(t *testing.T) {
	t.Parallel()
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	eb := bus.New()
	defer eb.Close()
	stop, err := busotel.ObserveMetrics(eb, busotel.WithMeterProvider(provider))
	if err != nil {
		t.Fatal(err)
	}
	consume(t, eb, "x", func(context.Context, *bus.Message) error { return nil })
	for range 3 {
		if _, err := eb.Request(t.Context(), "x", nil); err != nil {
			t.Fatal(err)
		}
	}
	read := func() map[string]int64 {
		var data metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &data); err != nil {
			t.Fatal(err)
		}
		all := map[string]int64{}
		for _, s := range data.ScopeMetrics {
			for _, m := range s.Metrics {
				for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
					reason, _ := p.Attributes.Value("reason")
					all[m.Name+" "+reason.String()] = p.Value
				}
			}
		}
		return all
	}
	late := time.After(10 * time.Second)
	for read()["messaging.client.consumed.messages "] != 3 { // which counts when the handler has returned
		select {
		case <-late:
			t.Fatalf("%v", read())
		default:
		}
	}
	got := read()
	for name, want := range map[string]int64{"messaging.client.sent.messages ": 3, "runrig.messages.failed panic": 0, "runrig.messages.discarded expired": 0, "runrig.links ": 0} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %d, want %d; %v", name, v, want, got)
		}
	}
	if err := stop(); err != nil || len(read()) != 0 {
		t.Errorf("after the end: %v, %v", read(), err)
	}
}
