package verticle_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// Greeter answers greetings, and counts them. Its field needs no lock.
type Greeter struct{ greeted int }

func (g *Greeter) Start(ctx context.Context, d *verticle.Deployment) error {
	_, err := d.Consume("greet", bus.Respond(func(ctx context.Context, name string) (string, error) {
		g.greeted++
		return "hello, " + name, nil
	}))
	return err
}

func (g *Greeter) Stop(ctx context.Context) error {
	fmt.Println("greeted", g.greeted)
	return nil
}

// Guests asks to be greeted. What waits does so outside the turn, in Go.
type Guests struct {
	names []string
	leave context.CancelFunc
}

func (g *Guests) Start(ctx context.Context, d *verticle.Deployment) error {
	d.Go(func(ctx context.Context) error {
		defer g.leave()
		for _, name := range g.names {
			greeting, err := bus.Request[string](ctx, d.EventBus(), "greet", name)
			if err != nil {
				return err
			}
			fmt.Println(greeting)
		}
		return nil
	})
	return nil
}

func (g *Guests) Stop(ctx context.Context) error { return nil }

// A program of two verticles, one of which asks the other.
func Example() {
	eb := bus.New()
	defer eb.Close()
	ctx, cancel := context.WithCancel(context.Background()) // a server's would be signal.NotifyContext's
	defer cancel()
	err := verticle.Run(ctx, eb, &Greeter{}, &Guests{names: []string{"ada", "grace"}, leave: cancel})
	fmt.Println("ended:", err)
	// Output:
	// hello, ada
	// hello, grace
	// greeted 2
	// ended: <nil>
}

func ExampleRun() {
	eb := bus.New()
	defer eb.Close()
	broken := verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
		return errors.New("no configuration")
	})
	err := verticle.Run(context.Background(), eb, &Greeter{}, broken)
	fmt.Println(strings.Contains(err.Error(), "no configuration"))
	// Output:
	// greeted 0
	// true
}

func ExampleDeploy() {
	eb := bus.New()
	defer eb.Close()
	ctx := context.Background()
	d, err := verticle.Deploy(ctx, eb, &Greeter{}, verticle.WithName("front"), verticle.WithLogger(slog.Default()))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.HasPrefix(d.ID(), "front-"))
	fmt.Println(bus.Request[string](ctx, eb, "greet", "ada"))
	fmt.Println(d.Undeploy(ctx))
	// Output:
	// true
	// hello, ada <nil>
	// greeted 1
	// <nil>
}

func ExampleFunc() {
	eb := bus.New()
	defer eb.Close()
	ctx := context.Background()
	d, err := verticle.Deploy(ctx, eb, verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
		_, err := d.Consume("upper", bus.Respond(func(ctx context.Context, s string) (string, error) {
			return strings.ToUpper(s), nil
		}))
		return err
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(bus.Request[string](ctx, eb, "upper", "quiet"))
	fmt.Println(d.Undeploy(ctx))
	// Output:
	// QUIET <nil>
	// <nil>
}

// What waits belongs in a function of Go, here for a line to read; it takes the
// turn where it needs the verticle's fields.
func ExampleDeployment_Go() {
	eb := bus.New()
	defer eb.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	input := bufio.NewScanner(strings.NewReader("one\ntwo\nthree\n"))
	lines := 0 // guarded by the turn
	reader := verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
		d.Go(func(ctx context.Context) error {
			defer cancel()
			for input.Scan() {
				err := d.EventBus().Do(ctx, func(context.Context) error { lines++; return nil })
				if err != nil {
					return err
				}
			}
			return input.Err()
		})
		return nil
	})
	fmt.Println(verticle.Run(ctx, eb, reader), lines)
	// Output: <nil> 3
}

// The parts of a verticle are its children: they start after it, stop before
// it, and fail with it.
func ExampleDeployment_Deploy() {
	eb := bus.New()
	defer eb.Close()
	ctx := context.Background()
	house := verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
		_, err := d.Deploy(ctx, &Greeter{})
		return err
	})
	d, err := verticle.Deploy(ctx, eb, house)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(bus.Request[string](ctx, eb, "greet", "ada"))
	fmt.Println(d.Undeploy(ctx))
	// Output:
	// hello, ada <nil>
	// greeted 1
	// <nil>
}

// A verticle that does what it was told to, and ends.
func ExampleDeployment_Undeploy() {
	eb := bus.New()
	defer eb.Close()
	ctx := context.Background()
	d, err := verticle.Deploy(ctx, eb, verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
		_, err := d.Consume("finish", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			return d.Undeploy(ctx) // its own: begins when this handler has returned
		}))
		return err
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := eb.Send(ctx, "finish", nil); err != nil {
		fmt.Println(err)
	}
	<-d.Done()
	fmt.Println(d.Err())
	fmt.Println(errors.Is(eb.Send(ctx, "finish", nil), bus.ErrNoConsumer))
	// Output:
	// <nil>
	// true
}

// A deployment that fails by itself, here by a function of Go, tells so by Done
// and Err.
func ExampleDeployment_Done() {
	eb := bus.New()
	defer eb.Close()
	d, err := verticle.Deploy(context.Background(), eb, verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
		d.Go(func(context.Context) error { return errors.New("the sensor is gone") })
		return nil
	}), verticle.WithName("sensor"), verticle.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(strings.HasSuffix(err.Error(), "the sensor is gone")) // it was quick
		return
	}
	<-d.Done()
	fmt.Println(strings.HasSuffix(d.Err().Error(), "the sensor is gone"))
	// Output: true
}

// Consume registers a handler that takes turns with the deployment's others.
func ExampleDeployment_Consume() {
	eb := bus.New()
	defer eb.Close()
	n := 0 // guarded by the turn
	d, err := verticle.Deploy(context.Background(), eb, verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
		_, err := d.Consume("count", bus.Respond(func(context.Context, any) (int, error) { n++; return n, nil }))
		return err
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		fmt.Println(bus.Request[int](context.Background(), eb, "count", nil))
	}
	fmt.Println(d.Undeploy(context.Background()))
	// Output:
	// 1 <nil>
	// 2 <nil>
	// <nil>
}

// Every calls in the turn: what it shares with the handlers needs no lock.
func ExampleDeployment_Every() {
	eb := bus.New()
	defer eb.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ticks := 0 // guarded by the turn
	clock := verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		d.Every(time.Millisecond, func(context.Context) error {
			if ticks++; ticks == 3 {
				cancel()
			}
			return nil
		})
		return nil
	})
	fmt.Println(verticle.Run(ctx, eb, clock), ticks >= 3)
	// Output: <nil> true
}

// A deadline for something that may come: what comes first stops the other.
func ExampleDeployment_After() {
	eb := bus.New()
	defer eb.Close()
	ctx := context.Background()
	d, err := verticle.Deploy(ctx, eb, verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
		stop := d.After(time.Minute, func(context.Context) error { return errors.New("nothing came") })
		_, err := d.Consume("first", bus.Receive(func(_ context.Context, s string) error {
			stop()
			fmt.Println(s)
			return nil
		}))
		return err
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := eb.Request(ctx, "first", "here"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(d.Undeploy(ctx))
	// Output:
	// here
	// <nil>
}

// Each instance has a turn of its own, so that three can wait at once.
func ExampleInstances() {
	eb := bus.New()
	defer eb.Close()
	ctx := context.Background()
	together := make(chan struct{})
	worker := func() verticle.Verticle {
		return verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
			_, err := d.Consume("work", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
				together <- struct{}{} // waits
				return nil
			}))
			return err
		})
	}
	d, err := verticle.Deploy(ctx, eb, verticle.Instances(3, worker))
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		if err := eb.Send(ctx, "work", nil); err != nil {
			fmt.Println(err)
		}
	}
	for range 3 {
		<-together
	}
	fmt.Println(d.Undeploy(ctx))
	// Output: <nil>
}

// A verticle whose connection breaks now and then is started again, with pauses
// that grow; its consumers are announced again, and its ID stays.
func ExampleWithRestart() {
	eb := bus.New()
	defer eb.Close()
	ctx := context.Background()
	well := make(chan struct{})
	starts := 0 // guarded by the turn
	reader := verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
		if starts++; starts == 3 {
			close(well)
			return nil
		}
		d.After(time.Millisecond, func(context.Context) error {
			fmt.Println("connection lost, start", starts)
			return errors.New("connection lost")
		})
		return nil
	})
	d, err := verticle.Deploy(ctx, eb, reader, verticle.WithLogger(slog.New(slog.DiscardHandler)),
		verticle.WithRestart(verticle.Restart{Max: 10, Window: time.Minute, Delay: time.Millisecond}))
	if err != nil {
		fmt.Println(err)
		return
	}
	<-well
	fmt.Println(d.Undeploy(ctx))
	// Output:
	// connection lost, start 1
	// connection lost, start 2
	// <nil>
}

// What becomes of a deployment and its children, in order.
func ExampleWithEvents() {
	eb := bus.New()
	defer eb.Close()
	ctx := context.Background()
	house := verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
		_, err := d.Deploy(ctx, &Greeter{})
		return err
	})
	d, err := verticle.Deploy(ctx, eb, house, verticle.WithEvents(func(e verticle.Event) {
		switch e := e.(type) {
		case verticle.Started:
			fmt.Println("started, at depth", len(e.Path))
		case verticle.Failed:
			fmt.Println("failed:", e.Err)
		case verticle.Restarting:
			fmt.Println("restarting in", e.Delay)
		case verticle.Stopped:
			fmt.Println("stopped, at depth", len(e.Path))
		}
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.Undeploy(ctx))
	// Output:
	// started, at depth 2
	// started, at depth 1
	// greeted 0
	// stopped, at depth 2
	// stopped, at depth 1
	// <nil>
}

// Handlers that block leave the turn by WithConcurrency, and take it for a moment
// where they need the verticle's fields.
func ExampleDeployment_Consume_beside() {
	eb := bus.New()
	defer eb.Close()
	ctx := context.Background()
	fetched := 0 // guarded by the turn
	d, err := verticle.Deploy(ctx, eb, verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
		fetch := bus.Respond(func(ctx context.Context, page string) (int, error) {
			size := len(page) // this would take its time
			return size, d.EventBus().Do(ctx, func(context.Context) error { fetched++; return nil })
		})
		_, err := d.Consume("fetch", fetch, bus.WithConcurrency(8))
		return err
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, page := range []string{"home", "about"} {
		fmt.Println(bus.Request[int](ctx, eb, "fetch", page))
	}
	fmt.Println(d.Undeploy(ctx), fetched)
	// Output:
	// 4 <nil>
	// 5 <nil>
	// <nil> 2
}
