package cluster_test

import (
	"slices"
	"strconv"
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
				t.Logf("silent death: noticed after %v", c.Await("the silent node failed at the others", 5*time.Second, func() bool {
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

// The figures hold for clusters of any size that one machine can simulate.
func TestSizes(t *testing.T) {
	t.Parallel()
	sizes := []int{10, 50}
	if testing.Short() || racing {
		sizes = sizes[:1]
	}
	for _, size := range sizes {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := clustertest.New(t, 0)
				began := time.Now()
				c.StartMany(size)
				c.AwaitLinked()
				t.Logf("all linked after %v", time.Since(began))
				var others, half []int
				for i := range size {
					if i > 0 {
						others = append(others, i)
					}
					if i < size/2 {
						half = append(half, i)
					}
				}
				c.Silence(0)
				t.Logf("silent death: no link after %v", c.Await("all links to it are down", 5*time.Second, func() bool {
					return !slices.ContainsFunc(others, func(i int) bool { return hasLink(c.Node(i), c.Node(0).Self().Boot) })
				}))
				t.Logf("and not a member after %v more", c.Await("gossip agrees", 10*time.Second, func() bool { return c.Linked(others...) }))
				c.Heal()
				t.Logf("back after %v", c.Await("it is back", 15*time.Second, func() bool { return c.Linked(append(others, 0)...) }))
				c.Partition(half)
				time.Sleep(time.Minute)
				c.Heal()
				t.Logf("partition healed after %v", c.Await("one cluster", 15*time.Second, func() bool { return c.Linked(append(others, 0)...) }))
			})
		})
	}
}
