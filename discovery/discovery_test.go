package discovery_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/discoverytest"
)

func TestStaticConforms(t *testing.T) {
	t.Parallel()
	want := []string{"10.0.0.7:7946", "[fd00::7]:7946", "node-a.example:7000"}
	discoverytest.Run(t, func(*testing.T) discovery.Provider { return discovery.Static(want...) }, want)
}

func TestStaticWithoutAddressesConforms(t *testing.T) {
	t.Parallel()
	discoverytest.Run(t, func(*testing.T) discovery.Provider { return discovery.Static() }, nil)
}

func TestProviderFuncConforms(t *testing.T) {
	t.Parallel()
	want := []string{"10.0.0.7:7946"}
	discoverytest.Run(t, func(*testing.T) discovery.Provider {
		return discovery.ProviderFunc(func(context.Context) ([]string, error) { return slices.Clone(want), nil })
	}, want)
}

func TestStaticKeepsOrderAndDropsRepeats(t *testing.T) {
	t.Parallel()
	got, err := discovery.Static("b:1", "a:1", "b:1").Peers(t.Context())
	if err != nil || !slices.Equal(got, []string{"b:1", "a:1"}) {
		t.Fatalf("Peers() = %q, %v; want [b:1 a:1], nil", got, err)
	}
}

func TestStaticCopiesItsArguments(t *testing.T) {
	t.Parallel()
	addrs := []string{"a:1", "b:1"}
	p := discovery.Static(addrs...)
	addrs[0] = "changed:1"
	if got, _ := p.Peers(t.Context()); got[0] != "a:1" {
		t.Fatalf("Peers() = %q after the caller changed its slice", got)
	}
}

func TestStaticRefusesBadAddresses(t *testing.T) {
	t.Parallel()
	for addr, says := range map[string]string{
		"":                "is empty",
		"10.0.0.7":        "missing port",
		"fd00::7":         "too many colons",
		"fd00::7:7946":    "too many colons",
		"[fd00::7]":       "missing port",
		":7946":           "the host is empty",
		"10.0.0.7:":       "not a number from 1 to 65535",
		"10.0.0.7:0":      "not a number from 1 to 65535",
		"10.0.0.7:-1":     "not a number from 1 to 65535",
		"10.0.0.7:65536":  "not a number from 1 to 65535",
		"10.0.0.7:http":   "not a number from 1 to 65535",
		"0.0.0.0:7946":    "unspecified",
		"[::]:7946":       "unspecified",
		"a b:7946":        "neither an IP address nor a host name",
		"http://a:7946":   "too many colons",
		"a/b:7946":        "neither an IP address nor a host name",
		"a:7946,b:7946":   "too many colons",
		"10.0.0.7 :7946":  "neither an IP address nor a host name",
		" 10.0.0.7:7946":  "neither an IP address nor a host name",
		"10.0.0.7:7946\n": "not a number from 1 to 65535",
	} {
		got, err := discovery.Static("10.0.0.1:7946", addr).Peers(t.Context())
		if err == nil {
			t.Errorf("Static(%q) gave %q, want an error", addr, got)
			continue
		}
		if text := err.Error(); !strings.Contains(text, says) || !strings.Contains(text, quoted(addr)) {
			t.Errorf("Static(%q): error %q does not contain %q and the address", addr, text, says)
		}
	}
}

// quoted is addr as the error shows it, but for characters that quoting escapes.
func quoted(addr string) string { return strings.TrimSuffix(addr, "\n") }

func TestProviderFuncPassesErrors(t *testing.T) {
	t.Parallel()
	down := errors.New("registry down")
	p := discovery.ProviderFunc(func(context.Context) ([]string, error) { return nil, down })
	if _, err := p.Peers(t.Context()); !errors.Is(err, down) {
		t.Fatalf("Peers() error = %v, want %v", err, down)
	}
}

func FuzzStatic(f *testing.F) {
	for _, addr := range []string{"", "a:1", "[::1]:7946", "[::1%lo]:7946", ":", "a:b:c", "\x00:1"} {
		f.Add(addr)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		got, err := discovery.Static(addr).Peers(t.Context())
		if (err == nil) != (len(got) == 1 && got[0] == addr) {
			t.Fatalf("Static(%q).Peers() = %q, %v", addr, got, err)
		}
	})
}
