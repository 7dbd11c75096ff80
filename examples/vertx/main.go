// Vertx is the first program of a Vert.x user, in Go: see First.java beside it.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/verticle"
)

// Greeter greets, and tells every second how often it has.
type Greeter struct{ greeted int } // guarded by the verticle's turn

func (g *Greeter) Start(_ context.Context, d *verticle.Deployment) error {
	d.Every(time.Second, func(ctx context.Context) error {
		return d.EventBus().Publish(ctx, "greeted", g.greeted)
	})
	_, err := d.Consume("greet", bus.Respond(func(_ context.Context, name string) (string, error) {
		g.greeted++
		return "hello, " + name, nil
	}))
	return err
}

func (g *Greeter) Stop(context.Context) error {
	fmt.Println("the greeter has greeted", g.greeted)
	return nil
}

// Guest listens to that, and asks to be greeted.
func guest(ctx context.Context, d *verticle.Deployment) error {
	if _, err := d.Consume("greeted", bus.Receive(func(_ context.Context, n int) error {
		fmt.Println("greeted so far:", n)
		return nil
	})); err != nil {
		return err
	}
	hi, err := bus.Request[string](ctx, d.EventBus(), "greet", "ada")
	fmt.Println(hi)
	return err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	eb := bus.New()
	node, err := cluster.Join(ctx, eb, cluster.Config{Discovery: discovery.Static(os.Args[1:]...)})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	if err := verticle.Run(ctx, eb, &Greeter{}, verticle.Func(guest)); err != nil {
		log.Print(err)
	}
}
