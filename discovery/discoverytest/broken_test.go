package discoverytest_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/discoverytest"
)

// brokenEnv tells a child process which provider to run the conformance test on.
const brokenEnv = "DISCOVERYTEST_BROKEN"

var want = []string{"10.0.0.7:7946", "10.0.0.8:7946"}

// broken are providers that break one rule each.
var broken = map[string]func() discovery.Provider{
	"shares its slice": func() discovery.Provider {
		list := append(make([]string, 0, 4), want...)
		return discovery.ProviderFunc(func(context.Context) ([]string, error) { return list, nil })
	},
	"repeats an address": func() discovery.Provider {
		return discovery.ProviderFunc(func(context.Context) ([]string, error) {
			return append([]string{want[0]}, want...), nil
		})
	},
	"is partial when cancelled": func() discovery.Provider {
		return discovery.ProviderFunc(func(ctx context.Context) ([]string, error) {
			if ctx.Err() != nil {
				return nil, nil
			}
			return append([]string(nil), want...), nil
		})
	},
	"takes a cancelled context for a bad setting": func() discovery.Provider {
		return discovery.ProviderFunc(func(ctx context.Context) ([]string, error) {
			if ctx.Err() != nil {
				return nil, discovery.Misconfigured(ctx.Err())
			}
			return append([]string(nil), want...), nil
		})
	},
	"changes its name": func() discovery.Provider {
		return &renamed{Provider: discovery.Static(want...)}
	},
	"shares its tags": func() discovery.Provider {
		return tagged{discovery.Static(want...), map[string]string{"zone": "a"}}
	},
}

type renamed struct {
	discovery.Provider
	calls atomic.Int32
}

func (r *renamed) Self(context.Context) (discovery.Self, error) {
	return discovery.Self{Name: strings.Repeat("n", int(r.calls.Add(1)))}, nil
}

type tagged struct {
	discovery.Provider
	tags map[string]string
}

func (p tagged) Self(context.Context) (discovery.Self, error) {
	return discovery.Self{Name: "n1", Tags: p.tags}, nil
}

// TestRunOnBroken is the child's part: it runs the conformance test on the provider that the
// environment names, which fails it.
func TestRunOnBroken(t *testing.T) {
	newProvider, ok := broken[os.Getenv(brokenEnv)]
	if !ok {
		t.Skip("only in the child process that TestRunRefusesBrokenProviders starts")
	}
	discoverytest.Run(t, func(*testing.T) discovery.Provider { return newProvider() }, want)
}

func TestRunRefusesBrokenProviders(t *testing.T) {
	t.Parallel()
	for name := range broken {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRunOnBroken$", "-test.v")
			child.Env = append(os.Environ(), brokenEnv+"="+name)
			out, err := child.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestRunOnBroken/") {
				t.Fatalf("a provider that %s passed, or the child did not run (%v):\n%s", name, err, out)
			}
		})
	}
}
