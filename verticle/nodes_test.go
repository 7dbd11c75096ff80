package verticle_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/verticle"
)

// TestStopsOfTwoNodesRequest: two nodes that stop at the same time, each with a
// verticle whose Stop asks a service that both have, are answered.
func TestStopsOfTwoNodesRequest(t *testing.T) {
	t.Parallel()
	clustered(t, 2, func(t *testing.T, c *bustest.Cluster) {
		var j journal
		asks := func(eb *bus.EventBus) verticle.Verticle {
			return &part{stop: func(ctx context.Context) error {
				for range 4 { // both nodes' turns
					if _, err := bus.Request[string](ctx, eb, "service", "bye"); err != nil {
						return err
					}
				}
				j.add("answered")
				return nil
			}}
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				if err := verticle.Run(ctx, c.Bus(i), consumes("service"), asks(c.Bus(i))); err != nil {
					t.Errorf("n%d: %v", i, err)
				}
			})
		}
		time.Sleep(time.Second)
		stop()
		wg.Wait()
		j.want(t, "answered", "answered")
	})
}
