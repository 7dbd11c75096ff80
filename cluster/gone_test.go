package cluster_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/clustertest"
)

// When one of two consumers' nodes is gone, closed or killed, what is sent then
// goes to the other, in order, and none is lost; nothing is linked with the one
// that is gone.
func TestSendsAfterANodeIsGone(t *testing.T) {
	t.Parallel()
	for how, end := range map[string]func(t *testing.T, c *clustertest.Cluster, i int){
		"closed": func(t *testing.T, c *clustertest.Cluster, i int) {
			if err := c.Node(i).Close(); err != nil {
				t.Error(err)
			}
		},
		"killed": func(_ *testing.T, c *clustertest.Cluster, i int) { c.Kill(i) },
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
				var mu sync.Mutex
				var got []int
				for i := range 2 {
					consumer, err := c.Node(i).Bus.Consume("a", bus.Receive(func(_ context.Context, n int) error {
						mu.Lock()
						defer mu.Unlock()
						if i == 1 {
							t.Errorf("message %d at the one that is gone", n)
						}
						got = append(got, n)
						return nil
					}))
					if err != nil {
						t.Fatal(err)
					}
					if err := consumer.Known(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				end(t, c, 1)
				c.AwaitLinked(0, 2)
				for n := range 10 {
					if err := c.Node(2).Bus.Send(t.Context(), "a", n); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				if len(got) != 10 || !slices.IsSorted(got) {
					t.Errorf("got %v", got)
				}
				for _, i := range []int{0, 2} {
					if n := len(c.Node(i).Bus.Peers()); n != 1 {
						t.Errorf("node %d is linked with %d others", i, n)
					}
				}
			}, secured())
		})
	}
}
