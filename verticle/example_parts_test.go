package verticle_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// What blocks runs in Go, beside the turn, and takes the turn for a moment where
// it needs the verticle's fields.
func ExampleDeployment_EventBus() {
	eb := bus.New()
	defer eb.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stock := 0 // guarded by the turn
	err := verticle.Run(ctx, eb, verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		d.Go(func(ctx context.Context) error {
			delivered := 3 // as a slow supplier tells
			err := d.EventBus().Do(ctx, func(context.Context) error {
				stock += delivered
				return nil
			})
			if err != nil {
				return err
			}
			n, err := bus.Request[int](ctx, d.EventBus(), "stock", nil)
			fmt.Println(n, err)
			cancel()
			return nil
		})
		_, err := d.Consume("stock", bus.Respond(func(context.Context, any) (int, error) { return stock, nil }))
		return err
	}))
	fmt.Println(err)
	// Output:
	// 3 <nil>
	// <nil>
}

// The name is that of the verticle's type unless it is given one, and tells its
// log lines from others.
func ExampleWithName() {
	eb := bus.New()
	defer eb.Close()
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "deployment" { // which is random
				return slog.Attr{}
			}
			return a
		},
	}))
	d, err := verticle.Deploy(context.Background(), eb, verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		d.Logger().Info("starting")
		return nil
	}), verticle.WithName("front"), verticle.WithLogger(log))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.HasPrefix(d.ID(), "front-"))
	fmt.Println(d.Undeploy(context.Background()))
	// Output:
	// level=INFO msg=starting verticle=front
	// true
	// <nil>
}
