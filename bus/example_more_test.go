package bus_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/runrig-go/runrig/bus"
)

// Close returns at once; Done tells when the handler that runs has returned.
func ExampleConsumer_Done() {
	eb := bus.New()
	defer eb.Close()
	began := make(chan struct{})
	var consumer *bus.Consumer
	consumer, _ = eb.Consume("last", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		close(began)
		fmt.Println("closed in its own handler:", consumer.Close())
		return nil
	}))
	eb.Send(context.Background(), "last", nil)
	<-began
	<-consumer.Done()
	fmt.Println(errors.Is(eb.Send(context.Background(), "last", nil), bus.ErrNoConsumer))
	// Output:
	// closed in its own handler: <nil>
	// true
}

// Without a pool no window grows: a consumer holds 16 KiB of what each node
// sends to it, and one message more, whatever happens.
func ExampleWithMemory() {
	eb := bus.New(bus.WithMemory(0))
	defer eb.Close()
	block := make(chan struct{})
	defer close(block)
	eb.Consume("slow", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		<-block
		return nil
	}))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	held := 0
	for eb.Send(ctx, "slow", make([]byte, 1<<10-128)) == nil { // 1 KiB with its overhead
		if held++; held == 16 {
			cancel() // the next one would wait
		}
	}
	fmt.Println(held, "KiB")
	// Output: 16 KiB
}

func ExampleWithBodyLimit() {
	eb := bus.New(bus.WithBodyLimit(64 << 10))
	defer eb.Close()
	eb.Consume("files", bus.Receive(func(ctx context.Context, file []byte) error { return nil }))
	fmt.Println(eb.Send(context.Background(), "files", make([]byte, 64<<10)))
	fmt.Println(errors.Is(eb.Send(context.Background(), "files", make([]byte, 64<<10+1)), bus.ErrTooLarge))
	// Output:
	// <nil>
	// true
}

// One handler for what is sent and what is asked.
func ExampleMessage_WantsReply() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("work", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		if !m.WantsReply() {
			fmt.Println("done, silently")
			return nil
		}
		return m.Reply(ctx, "done, as you asked")
	}))
	ctx := context.Background()
	eb.Send(ctx, "work", nil)
	s, err := bus.Request[string](ctx, eb, "work", nil)
	fmt.Println(s, err)
	// Output:
	// done, silently
	// done, as you asked <nil>
}

// What a consumer that closes has not handled goes to another one, marked.
func ExampleMessage_Rerouted() {
	eb := bus.New()
	defer eb.Close()
	began, block := make(chan struct{}), make(chan struct{})
	first, _ := eb.Consume("orders", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		close(began)
		<-block
		return nil
	}))
	for _, order := range []string{"pizza", "pasta"} {
		eb.Send(context.Background(), "orders", order)
	}
	<-began // of the first order; the second one waits
	first.Close()
	done := make(chan struct{})
	eb.Consume("orders", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		fmt.Printf("%s, rerouted: %v\n", m.Body, m.Rerouted())
		close(done)
		return nil
	}))
	<-done
	close(block)
	// Output: "pasta", rerouted: true
}
