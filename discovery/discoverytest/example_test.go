package discoverytest_test

import (
	"testing"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/discoverytest"
)

// A provider's own test calls Run with what the provider should find.
func ExampleRun() {
	_ = func(t *testing.T) { // func TestMyProvider(t *testing.T)
		discoverytest.Run(t, func(t *testing.T) discovery.Provider {
			return discovery.Static("10.0.0.7:7946") // the provider under test
		}, []string{"10.0.0.7:7946"})
	}
	// Output:
}

// What a provider does when its source cannot be asked is checked by RunDown.
func ExampleRunDown() {
	_ = func(t *testing.T) { // func TestMyProviderThatIsDown(t *testing.T)
		discoverytest.RunDown(t, func(t *testing.T) discovery.Provider {
			return discovery.File("/nowhere/peers") // the provider under test, whose server is down
		})
	}
	// Output:
}
