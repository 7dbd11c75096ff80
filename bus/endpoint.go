package bus

import "context"

// An Endpoint is an address with the types of what is asked there and of what is
// answered. Two services that share its declaration agree on all three:
//
//	const Quote bus.Endpoint[QuoteRequest, Quote] = "pricing.quote"
//
//	q, err := Quote.Request(ctx, eb, QuoteRequest{SKU: "apple"})   // here
//	_, err = eb.Consume(Quote.Address(), Quote.Respond(quote))     // and there
type Endpoint[Req, Resp any] string

// Address returns the address.
func (e Endpoint[Req, Resp]) Address() string { return string(e) }

// Request is the function [Request] with the types of the endpoint.
func (e Endpoint[Req, Resp]) Request(ctx context.Context, eb *EventBus, req Req, opts ...CallOption) (Resp, error) {
	return Request[Resp](ctx, eb, string(e), req, opts...)
}

// Respond is the function [Respond] with the types of the endpoint.
func (e Endpoint[Req, Resp]) Respond(f func(ctx context.Context, req Req) (Resp, error)) Handler {
	return Respond(f)
}
