package cluster_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
)

// A node without a secret, which listens on the loopback only, says so where it is to
// reach another host.
func TestLoopbackOnly(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	eb := bus.New(bus.WithLogger(log))
	n, err := cluster.Join(t.Context(), eb, cluster.Config{
		Bind: "127.0.0.1:0", Discovery: discovery.Static("192.0.2.1:7946"), Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.Trouble(); err == nil || !strings.Contains(err.Error(), "192.0.2.1:7946: this node listens on the loopback only") ||
		!strings.Contains(err.Error(), "Config.Secrets") {
		t.Errorf("trouble: %v", err)
	}
}
