package discoverytest_test

import (
	"context"
	"testing"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/discoverytest"
)

// placed knows its own place besides a fixed list.
type placed struct{ discovery.Provider }

func (placed) Self(context.Context) (discovery.Self, error) {
	return discovery.Self{Name: "n1", Addr: "10.0.0.8:7946", Tags: map[string]string{"zone": "a"}}, nil
}

func TestRunAcceptsAProviderThatKnowsItself(t *testing.T) {
	t.Parallel()
	want := []string{"10.0.0.7:7946"}
	discoverytest.Run(t, func(*testing.T) discovery.Provider {
		return placed{discovery.Static(want...)}
	}, want)
}
