package bus_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runrig-go/runrig/bus"
)

func ExampleReplyError() {
	eb := bus.New()
	defer eb.Close()
	const outOfStock = 7
	eb.Consume("order", bus.Receive(func(ctx context.Context, what string) error {
		return &bus.ReplyError{Code: outOfStock, Message: "no " + what + " left"}
	}))
	_, err := eb.Request(context.Background(), "order", "pizza")
	var no *bus.ReplyError
	if errors.As(err, &no) && no.Code == outOfStock {
		fmt.Println(no.Message)
	}
	// Output: no pizza left
}

func ExampleReplyError_Decode() {
	eb := bus.New()
	defer eb.Close()
	type outOfStock struct{ Asked, Left int }
	eb.Consume("order", bus.Receive(func(ctx context.Context, n int) error {
		if n > 2 {
			return &bus.ReplyError{Code: 409, Message: "not enough of it", Details: outOfStock{n, 2}}
		}
		return nil
	}))
	_, err := eb.Request(context.Background(), "order", 5)
	var no *bus.ReplyError
	var stock outOfStock
	if errors.As(err, &no) {
		if _, err := no.Decode(&stock); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(err)
	fmt.Println("left:", stock.Left)
	// Output:
	// request to "order": bus: consumer answered: not enough of it (code 409)
	// left: 2
}

func ExampleErrNoConsumer() {
	eb := bus.New()
	defer eb.Close()
	_, err := eb.Request(context.Background(), "greet", "ada")
	fmt.Println(errors.Is(err, bus.ErrNoConsumer))
	fmt.Println(err)
	// Output:
	// true
	// bus: no consumer of "greet"
}

func ExampleErrBusy() {
	eb := bus.New()
	defer eb.Close()
	release := busy(eb, "slow")
	defer release()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	err := eb.Send(ctx, "slow", nil)
	fmt.Println(errors.Is(err, bus.ErrBusy), errors.Is(err, context.DeadlineExceeded))
	// Output: true true
}

func ExampleErrTooLarge() {
	eb := bus.New(bus.WithBodyLimit(1 << 20))
	defer eb.Close()
	err := eb.Send(context.Background(), "files", make([]byte, 2<<20))
	fmt.Println(errors.Is(err, bus.ErrTooLarge))
	fmt.Println(err)
	// Output:
	// true
	// bus: too large: body of 2097152 bytes in a message to "files"; the limit is 1048576 (WithBodyLimit)
}

// A handler that asks its own scope would wait for itself.
func ExampleErrDeadlock() {
	eb := bus.New()
	defer eb.Close()
	scope := eb.Scope()
	scope.Consume("inner", bus.Receive(func(ctx context.Context, s string) error { return nil }))
	scope.Consume("outer", bus.Receive(func(ctx context.Context, s string) error {
		_, err := scope.Request(ctx, "inner", s)
		fmt.Println(errors.Is(err, bus.ErrDeadlock))
		return nil
	}))
	_, err := eb.Request(context.Background(), "outer", "x")
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}

func ExampleErrClosed() {
	eb := bus.New()
	eb.Close()
	err := eb.Send(context.Background(), "greet", "ada")
	fmt.Println(errors.Is(err, bus.ErrClosed), err)
	// Output: true bus: closed: message to "greet"
}
