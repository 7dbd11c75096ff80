package bridge_test

import (
	"os"
	"testing"

	"github.com/runrig-go/runrig/bus/internal/leak"
)

// TestMain fails when a test has left something of the bridge running, unless it
// ends soon.
func TestMain(m *testing.M) {
	if ports := os.Getenv(childEnv); ports != "" {
		child(ports)
	}
	leak.Main(m)
}
