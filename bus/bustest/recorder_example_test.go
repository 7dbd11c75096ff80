package bustest_test

import (
	"context"
	"fmt"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/verticle"
)

// shop is a consumer to be tested: it takes orders and tells the kitchen.
func shop(eb *bus.EventBus) bus.Handler {
	return bus.Respond(func(ctx context.Context, order string) (string, error) {
		return "thank you", eb.Send(ctx, "kitchen", order)
	})
}

// A consumer is tested with a recorder where its messages go.
func ExampleNewRecorder() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	eb := bustest.NewBus(t)
	eb.Consume("orders", shop(eb))
	kitchen := bustest.NewRecorder(t)
	eb.Consume("kitchen", kitchen)

	answer, err := bus.Request[string](context.Background(), eb, "orders", "pizza")
	fmt.Println(answer, err)
	fmt.Println(bustest.Bodies[string](t, kitchen.Await(1)))
	// Output:
	// thank you <nil>
	// [pizza]
}

func ExampleRecorder_Await() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	eb := bustest.NewBus(t)
	r := bustest.NewRecorder(t)
	eb.Consume("news", r)
	eb.Send(context.Background(), "news", nil, bus.WithHeader("from", "ada"))
	eb.Publish(context.Background(), "news", nil, bus.WithHeader("from", "alan"))
	for _, m := range r.Await(2) {
		fmt.Println(m.Header().Get("from"))
	}
	// Output:
	// ada
	// alan
}

// A recorder before a handler sees what comes to it.
func ExampleRecorder_Before() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	eb := bustest.NewBus(t)
	r := bustest.NewRecorder(t)
	eb.Consume("square", r.Before(bus.Respond(func(ctx context.Context, n int) (int, error) { return n * n, nil })))
	n, err := bus.Request[int](context.Background(), eb, "square", 12)
	fmt.Println(n, err, bustest.Bodies[int](t, r.Messages()))
	// Output: 144 <nil> [12]
}

// When all is settled, nothing more comes.
func ExampleSettle() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := bustest.NewCluster(t, 2)
	r := bustest.NewRecorder(t)
	cn, _ := c.Bus(1).Consume("news", r)
	cn.Known(context.Background())
	for range 3 {
		c.Bus(0).Publish(context.Background(), "news", "rain")
	}
	bustest.Settle(t, c.Bus(0), c.Bus(1))
	fmt.Println(len(r.Messages()))
	// Output: 3
}

func ExampleNewBus() {
	t := new(exampleTB) // in a test, its t
	defer t.end()       // closes the bus
	eb := bustest.NewBus(t)
	fmt.Println(eb.Send(context.Background(), "nobody", nil))
	// Output: bus: no consumer of "nobody"
}

// counter is a verticle to be tested.
type counter struct{ n int }

func (c *counter) Start(_ context.Context, d *verticle.Deployment) error {
	_, err := d.Consume("count", bus.Receive(func(ctx context.Context, by int) error {
		c.n += by
		return d.EventBus().Publish(ctx, "counted", c.n)
	}))
	return err
}

func (c *counter) Stop(context.Context) error { return nil }

// A verticle is tested on a bus of its own, without sockets.
func Example_verticle() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	eb := bustest.NewBus(t)
	r := bustest.NewRecorder(t)
	eb.Consume("counted", r)
	d, err := verticle.Deploy(context.Background(), eb, new(counter))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, by := range []int{1, 2, 3} {
		eb.Send(context.Background(), "count", by)
	}
	fmt.Println(bustest.Bodies[int](t, r.Await(3)))
	fmt.Println(d.Undeploy(context.Background()))
	fmt.Println(eb.Send(context.Background(), "count", 1))
	// Output:
	// [1 3 6]
	// <nil>
	// bus: no consumer of "count"
}
