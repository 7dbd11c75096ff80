package cluster_test

import (
	"testing"
	"testing/synctest"

	"github.com/runrig-go/runrig/cluster/clustertest"
)

// When many nodes start at once, few pairs make two handshakes for their one link.
func TestFewDialsCross(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 40
		c := clustertest.New(t, 0)
		c.StartMany(size)
		c.AwaitLinked()
		var crossed uint64
		for i := range size {
			crossed += c.Node(i).Stats().Refused.Duplicate
		}
		links := size * (size - 1) / 2
		t.Logf("%d of %d", crossed, links)
		if crossed > uint64(links/5) {
			t.Errorf("%d dials crossed for %d links", crossed, links)
		}
	})
}
