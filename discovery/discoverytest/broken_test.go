package discoverytest_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
	"does not hear its context": func() discovery.Provider {
		return discovery.ProviderFunc(func(ctx context.Context) ([]string, error) {
			if ctx.Err() != nil {
				<-time.After(3 * time.Second)
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

// brokenDown are providers that fail in a wrong way.
var brokenDown = map[string]func() discovery.Provider{
	"takes a failure for nobody": func() discovery.Provider { return discovery.Static() },
	"gives a list beside its error": func() discovery.Provider {
		return discovery.ProviderFunc(func(context.Context) ([]string, error) { return want, errors.New("down") })
	},
	"waits on for its server": func() discovery.Provider {
		return discovery.ProviderFunc(func(ctx context.Context) ([]string, error) {
			select {
			case <-ctx.Done():
				<-time.After(3 * time.Second)
			case <-time.After(50 * time.Millisecond):
			}
			return nil, errors.New("down")
		})
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
	if newProvider, ok := broken[os.Getenv(brokenEnv)]; ok {
		discoverytest.Run(t, func(*testing.T) discovery.Provider { return newProvider() }, want)
	} else if newProvider, ok := brokenDown[os.Getenv(brokenEnv)]; ok {
		discoverytest.RunDown(t, func(*testing.T) discovery.Provider { return newProvider() })
	} else {
		t.Skip("only in the child process that TestRunRefusesBrokenProviders starts")
	}
}

func TestRunRefusesBrokenProviders(t *testing.T) {
	t.Parallel()
	for _, name := range slices.Concat(slices.Collect(maps.Keys(broken)), slices.Collect(maps.Keys(brokenDown))) {
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
