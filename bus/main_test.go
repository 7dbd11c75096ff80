package bus_test

import (
	"testing"

	"github.com/runrig-go/runrig/bus/internal/leak"
)

// TestMain fails when a test has left something of the bus running, unless it
// ends soon; a link that nobody serves lives for longer.
func TestMain(m *testing.M) { leak.Main(m) }
