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
