package bus_test

import (
	"context"
	"fmt"

	"github.com/runrig-go/runrig/bus"
)

// A handler hands requests to a worker, which answers them when it likes.
func ExampleMessage_Defer() {
	eb := bus.New()
	defer eb.Close()
	work := make(chan *bus.Message, 1)
	_, err := eb.Consume("double", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
		work <- m
		return m.Defer()
	}), bus.Deferring())
	if err != nil {
		fmt.Println(err)
	}
	go func() {
		m := <-work
		var n int
		if err := m.Decode(&n); err != nil {
			_ = m.Fail(err) // its requester may have gone
			return
		}
		_ = m.Reply(context.Background(), 2*n)
	}()
	fmt.Println(bus.Request[int](context.Background(), eb, "double", 21))
	// Output: 42 <nil>
}

// Two requests are under way at a time, and come in order.
func ExamplePlaced() {
	eb := bus.New()
	defer eb.Close()
	_, err := eb.Consume("log", bus.Receive(func(_ context.Context, line string) error {
		fmt.Println(line)
		return nil
	}))
	if err != nil {
		fmt.Println(err)
	}
	placed, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_, _ = eb.Request(context.Background(), "log", "first", bus.Placed(func() { close(placed) }))
	}()
	<-placed
	_, err = eb.Request(context.Background(), "log", "second")
	<-done
	fmt.Println(err)
	// Output:
	// first
	// second
	// <nil>
}
