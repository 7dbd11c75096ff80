package bus_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// A consumer asks back before it replies.
func ExampleMessage_Request() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("pizza", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		answer, err := m.Request(ctx, []byte("which size?"))
		if err != nil {
			return err
		}
		return answer.Reply(ctx, []byte("one pizza, "+string(answer.Body)))
	}))
	ctx := context.Background()
	question, _ := eb.Request(ctx, "pizza", nil)
	fmt.Printf("%s %v\n", question.Body, question.WantsReply())
	reply, err := question.Request(ctx, []byte("large"))
	fmt.Printf("%s %v %v\n", reply.Body, reply.WantsReply(), err)
	// Output:
	// which size? true
	// one pizza, large false <nil>
}

// Who cannot answer a question says so at once.
func ExampleMessage_Request_unanswered() {
	eb := bus.New()
	defer eb.Close()
	asked := make(chan error, 1)
	eb.Consume("pizza", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		_, err := m.Request(ctx, "which size?")
		asked <- err
		return err
	}))
	_, err := bus.Request[string](context.Background(), eb, "pizza", nil)
	fmt.Println(err)
	var no *bus.ReplyError
	fmt.Println(errors.As(<-asked, &no) && no.Code == bus.CodeUnanswered)
	// Output:
	// bus: request to "pizza": the consumer asked back, which bus.Request cannot answer; use EventBus.Request
	// true
}

// What is sent as one type is received as another.
func ExampleWithCodec() {
	type colour struct{ R, G, B byte }
	eb := bus.New(bus.WithCodec("colour",
		func(c colour) ([]byte, error) { return []byte{c.R, c.G, c.B}, nil },
		func(b []byte) (string, error) { return "#" + hex.EncodeToString(b), nil }))
	defer eb.Close()
	eb.Consume("paint", bus.Respond(func(ctx context.Context, web string) (colour, error) {
		fmt.Println("painting in", web)
		return colour{255, 255, 255}, nil
	}))
	left, err := bus.Request[string](context.Background(), eb, "paint", colour{0, 128, 255})
	fmt.Println(left, err)
	// Output:
	// painting in #0080ff
	// #ffffff <nil>
}

// Only requests that carry a token come to the handlers.
func ExampleWithInbound() {
	eb := bus.New(bus.WithInbound(func(next bus.Handler) bus.Handler {
		return bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			if m.Header().Get("token") != "secret" {
				return &bus.ReplyError{Code: 403, Message: "no token"}
			}
			return next.Handle(ctx, m)
		})
	}))
	defer eb.Close()
	eb.Consume("greet", bus.Respond(func(ctx context.Context, name string) (string, error) { return "hello, " + name, nil }))
	ctx := context.Background()
	_, err := bus.Request[string](ctx, eb, "greet", "ada")
	fmt.Println(err)
	fmt.Println(bus.Request[string](ctx, eb, "greet", "ada", bus.WithHeader("token", "secret")))
	// Output:
	// request to "greet": bus: consumer answered: no token (code 403)
	// hello, ada <nil>
}

// Every call carries a header, and requests are timed.
func ExampleWithOutbound() {
	trace := func(next bus.Caller) bus.Caller {
		return func(ctx context.Context, call *bus.Call) (*bus.Message, error) {
			call.Header.Set("trace", "42")
			begin := time.Now()
			m, err := next(ctx, call)
			fmt.Println(call.Verb, call.Address, call.Body, time.Since(begin) < time.Minute)
			return m, err
		}
	}
	eb := bus.New(bus.WithOutbound(trace))
	defer eb.Close()
	eb.Consume("greet", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		return m.Reply(ctx, "trace "+m.Header().Get("trace"))
	}))
	m, err := eb.Request(context.Background(), "greet", "ada")
	fmt.Println(string(m.Body), err)
	// Unordered output:
	// Reply greet trace 42 true
	// Request greet ada true
	// "trace 42" <nil>
}
