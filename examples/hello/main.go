// Hello greets. Run it, and in another terminal run it with the address that it prints.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/verticle"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, others []string) error {
	eb := bus.New()
	node, err := cluster.Join(ctx, eb, cluster.Config{Discovery: discovery.Static(others...)})
	if err != nil {
		return err
	}
	defer node.Close()
	if len(others) > 0 { // the second terminal asks, the first one answers
		hi, err := bus.Request[string](ctx, eb, "greet", "ada")
		if err == nil {
			fmt.Println(hi)
		}
		return err
	}
	fmt.Println("now run: go run ./examples/hello", node.Self().Addr)
	greet := bus.Respond(func(_ context.Context, name string) (string, error) { return "hello, " + name, nil })
	return verticle.Run(ctx, eb, verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		_, err := d.Consume("greet", greet)
		return err
	}))
}
