// Package busotel carries traces of OpenTelemetry through the messages of a bus, and
// gives its counters to OpenTelemetry as metrics. It is a module of its own, so that only
// those who want it have its dependencies.
//
//	tracing := busotel.NewTracing()
//	eb := bus.New(bus.WithOutbound(tracing.Outbound), bus.WithInbound(tracing.Inbound))
//	stop, err := busotel.ObserveMetrics(eb)
//
// # Traces
//
// A call of Send, Publish, Request or RequestAll is a span of the caller's, and each
// handler of it one of the consumer's node, so that a request which leads to others is
// one trace, over all nodes. Names and attributes are those of the conventions for
// messaging (semconv 1.43, in development): "request orders", of kind client, with
// "process orders", of kind consumer, as its child; "send" and "publish" are of kind
// producer. messaging.system is "runrig".
//
// The consumer's span is a child of the caller's; with [WithLinks] it begins a trace of
// its own and has a link to it, as for work that is done much later. An error is
// recorded with error.type, a word of [bus.Class]; its text is the span's status.
// Replies have no span, and no address of a reply is in any.
//
// The trace goes as headers, by the propagator: traceparent and tracestate by default.
// While a trace is not sampled, no header is touched. What a span costs is the
// tracer's; where that does not record, a call still pays for the interceptors.
//
// # Metrics
//
// They are read from the bus's own counters when they are collected, and cost no message
// anything: messaging.client.sent.messages and messaging.client.consumed.messages of the
// conventions, and runrig.messages.discarded, runrig.messages.failed and
// runrig.links. Of addresses, package clusterprom tells more.
package busotel
