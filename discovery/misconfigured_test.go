package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/runrig-go/runrig/discovery"
)

// busy overrules what it wraps.
type busy struct{ error }

func (busy) Misconfigured() bool { return false }
func (b busy) Unwrap() error     { return b.error }

func TestIsMisconfigured(t *testing.T) {
	t.Parallel()
	plain := errors.New("rate exceeded")
	marked := discovery.Misconfigured(errors.New("no such service"))
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"nil":                    {nil, false},
		"nil, marked":            {discovery.Misconfigured(nil), false},
		"plain":                  {plain, false},
		"marked":                 {marked, true},
		"wrapped":                {fmt.Errorf("asking: %w", marked), true},
		"overruled":              {busy{marked}, false},
		"overruled, marked":      {discovery.Misconfigured(busy{marked}), true},
		"the first one decides":  {errors.Join(plain, busy{plain}, marked), false},
		"wrapped beside another": {fmt.Errorf("%w: %w", marked, plain), true},
	} {
		if got := discovery.IsMisconfigured(tt.err); got != tt.want {
			t.Errorf("%s: IsMisconfigured is %v, want %v", name, got, tt.want)
		}
	}
	if err := discovery.Misconfigured(plain); err.Error() != plain.Error() || !errors.Is(err, plain) {
		t.Errorf("the mark changed the error: %v", err)
	}
}

// Which errors of this package somebody has to mend.
func TestMisconfiguredProviders(t *testing.T) {
	t.Setenv("DISCOVERY_TEST_BAD", "10.0.0.7")
	failing := func(err error) discovery.Provider {
		return discovery.ProviderFunc(func(context.Context) ([]string, error) { return nil, err })
	}
	lasts := failing(discovery.Misconfigured(errors.New("no such service")))
	passes := failing(&net.DNSError{Err: "server misbehaving", Name: "web", IsTemporary: true})
	good := discovery.Static("10.0.0.7:7946")
	for name, tt := range map[string]struct {
		p    discovery.Provider
		want bool
	}{
		"Static":                         {discovery.Static("10.0.0.7"), true},
		"DNS":                            {discovery.DNS("web"), true},
		"SRV":                            {discovery.SRV("a b"), true},
		"ProviderFunc, nil":              {discovery.ProviderFunc(nil), true},
		"Env, without a name":            {discovery.Env(""), true},
		"File, without a path":           {discovery.File(""), true},
		"Env, not set":                   {discovery.Env("DISCOVERY_TEST_MISSING"), true},
		"Env, bad":                       {discovery.Env("DISCOVERY_TEST_BAD"), true},
		"File, which may come":           {discovery.File("no-such-file"), false},
		"First of none":                  {discovery.First(), true},
		"First, one passes":              {discovery.First(lasts, passes), false},
		"First, one passes, other order": {discovery.First(passes, lasts), false},
		"First, none passes":             {discovery.First(lasts, lasts), true},
		"Merge, one passes":              {discovery.Merge(lasts, passes, good), false},
		"Merge, none passes":             {discovery.Merge(lasts, good), true},
		"LastGood":                       {discovery.LastGood(lasts, nil), true},
	} {
		list, err := tt.p.Peers(t.Context())
		if err == nil || list != nil {
			t.Errorf("%s: Peers gave %q, %v; want an error", name, list, err)
		}
		if got := discovery.IsMisconfigured(err); got != tt.want {
			t.Errorf("%s: IsMisconfigured is %v, want %v: %v", name, got, tt.want, err)
		}
	}
}
