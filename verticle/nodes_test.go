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

// TestReplyOfBlockingWorkReachesAnotherNode: a handler that blocks beside the turn
// is answered for on the requester's node, while the turn handles others.
func TestReplyOfBlockingWorkReachesAnotherNode(t *testing.T) {
	t.Parallel()
	clustered(t, 2, func(t *testing.T, c *bustest.Cluster) {
		deploy(t, c.Bus(0), &part{start: func(_ context.Context, d *verticle.Deployment) error {
			_, err := d.Consume("work", bus.Respond(func(_ context.Context, s string) (string, error) {
				time.Sleep(time.Second)
				return s + " done", nil
			}), bus.WithConcurrency(2))
			if err != nil {
				return err
			}
			_, err = d.Consume("quick", echo)
			return err
		}})
		begin := time.Now()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if s, err := bus.Request[string](t.Context(), c.Bus(1), "work", "hard"); s != "hard done" || err != nil {
					t.Errorf("%q, %v", s, err)
				}
				if took := time.Since(begin); took < time.Second || took >= 2*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		}
		if _, err := c.Bus(1).Request(t.Context(), "quick", "x"); err != nil || time.Since(begin) >= time.Second {
			t.Errorf("quick, after %v: %v", time.Since(begin), err)
		}
		wg.Wait()
	})
}
