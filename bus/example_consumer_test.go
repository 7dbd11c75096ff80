package bus_test

import (
	"context"
	"fmt"

	"github.com/runrig-go/runrig/bus"
)

// A consumer that needs a rest takes no more messages; they wait for it.
func ExampleConsumer_Pause() {
	eb := bus.New()
	defer eb.Close()
	stored, full := make(chan string), make(chan struct{})
	var c *bus.Consumer
	ready := make(chan struct{})
	c, _ = eb.Consume("store", bus.Receive(func(ctx context.Context, s string) error {
		<-ready
		if s == "b" { // the disk is full, say: the third has to wait
			c.Pause()
			close(full)
			return nil
		}
		stored <- s
		return nil
	}))
	close(ready)
	for _, s := range []string{"a", "b", "c"} {
		eb.Send(context.Background(), "store", s)
	}
	fmt.Println(<-stored)
	<-full
	select {
	case s := <-stored:
		fmt.Println("while paused:", s)
	default:
		fmt.Println("paused")
	}
	c.Resume()
	fmt.Println(<-stored)
	// Output:
	// a
	// paused
	// c
}

func ExampleConsumer_Resume() {
	eb := bus.New()
	defer eb.Close()
	c, _ := eb.Consume("greet", bus.Respond(func(ctx context.Context, name string) (string, error) {
		return "hello, " + name, nil
	}))
	c.Pause()
	greeting := make(chan string)
	go func() {
		hi, _ := bus.Request[string](context.Background(), eb, "greet", "ada") // waits
		greeting <- hi
	}()
	c.Resume()
	fmt.Println(<-greeting)
	// Output: hello, ada
}

func ExampleEventBus_Addresses() {
	eb := bus.New(quiet)
	c, _ := eb.Consume("greet", bus.Respond(func(ctx context.Context, name string) (string, error) {
		return "hello, " + name, nil
	}))
	for _, name := range []string{"ada", "alan"} {
		bus.Request[string](context.Background(), eb, "greet", name)
	}
	c.Pause()
	eb.Send(context.Background(), "greet", "grace")
	for _, a := range eb.Addresses() {
		fmt.Printf("%s: %d consumers, %d paused, %d sent, %d wait\n", a.Address, a.Consumers, a.Paused, a.Sent, a.Queued)
	}
	eb.Close()
	for _, a := range eb.Addresses() {
		fmt.Printf("forgotten: %d sent, %d settled, %d bounced\n", a.Sent, a.Settled, a.Bounced)
	}
	// Output:
	// greet: 1 consumers, 1 paused, 3 sent, 1 wait
	// forgotten: 3 sent, 2 settled, 1 bounced
}
