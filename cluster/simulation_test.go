package cluster_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
)

// secured makes the nodes of a simulation use a secret.
func secured() clustertest.Option {
	return clustertest.WithConfig(func(_ int, c *cluster.Config) {
		c.Insecure = false
		c.Secrets = cluster.NewSecrets(secret)
	})
}

// A cluster of whole nodes lives through what may happen to it, in virtual time.
func TestSimulation(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]clustertest.Option{
		"plain":  nil,
		"secret": {secured()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clustertest.Run(t, 5, func(t *testing.T, c *clustertest.Cluster) {
				c.Kill(4)
				t.Logf("kill: forgotten after %v", c.AwaitLinked(0, 1, 2, 3))

				c.Silence(3)
				t.Logf("silent death: noticed after %v", c.Await("the silent node failed at the others", 6*time.Second, func() bool {
					return c.Linked(0, 1, 2)
				}))
				c.Heal()
				t.Logf("it is back after %v", c.Await("it is back", 15*time.Second, func() bool { return c.Linked(0, 1, 2, 3) }))

				c.Partition([]int{0, 1}, []int{2, 3})
				t.Logf("partition: noticed after %v", c.Await("the halves are apart", 30*time.Second, func() bool {
					return c.Linked(0, 1) && c.Linked(2, 3)
				}))
				time.Sleep(time.Minute)
				c.Heal()
				t.Logf("partition: healed after %v", c.Await("one cluster", 15*time.Second, func() bool { return c.Linked(0, 1, 2, 3) }))

				at := c.Restart(4)
				t.Logf("restart at the same address: linked after %v", c.AwaitLinked(0, 1, 2, 3, at))

				if err := c.Node(0).Close(); err != nil {
					t.Error(err)
				}
				t.Logf("leave: gone after %v", c.AwaitLinked(1, 2, 3, at))
			}, opts...)
		})
	}
}

var _ = synctest.Wait
