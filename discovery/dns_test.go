package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/discoverytest"
)

func manyAddrs() (addrs, want []string) {
	for i := range 120 {
		addrs = append(addrs, fmt.Sprintf("10.0.1.%d", i+1))
		want = append(want, addrs[i]+":7946")
	}
	return addrs, want
}

func TestDNSConforms(t *testing.T) {
	t.Parallel()
	many, manyWant := manyAddrs()
	for name, tt := range map[string]struct {
		addrs, want []string
	}{
		"A":               {[]string{"10.0.0.7", "10.0.0.8"}, []string{"10.0.0.7:7946", "10.0.0.8:7946"}},
		"AAAA":            {[]string{"fd00::7"}, []string{"[fd00::7]:7946"}},
		"both, repeated":  {[]string{"10.0.0.7", "fd00::7", "10.0.0.7"}, []string{"10.0.0.7:7946", "[fd00::7]:7946"}},
		"larger than UDP": {many, manyWant},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			discoverytest.Run(t, func(t *testing.T) discovery.Provider {
				return discovery.DNSBy(nameServer(t, zone{"web.internal": {addrs: tt.addrs}}), "web.internal.:7946")
			}, tt.want)
		})
	}
}

func TestSRVConforms(t *testing.T) {
	t.Parallel()
	discoverytest.Run(t, func(t *testing.T) discovery.Provider {
		return discovery.SRVBy(nameServer(t, zone{"_node._tcp.web.internal": {srv: []service{
			{priority: 1, port: 8002, target: "b.web.internal."},
			{priority: 1, port: 8001, target: "a.web.internal."},
			{priority: 1, port: 0, target: "nobody.web.internal."},
			{priority: 1, port: 1, target: "."},
		}}}), "_node._tcp.web.internal.")
	}, []string{"a.web.internal:8001", "b.web.internal:8002"})
}

func TestSRVKeepsPriority(t *testing.T) {
	t.Parallel()
	r := nameServer(t, zone{"srv.internal": {srv: []service{
		{priority: 2, port: 2, target: "second.internal."}, {priority: 1, port: 1, target: "first.internal."},
	}}})
	got, err := discovery.SRVBy(r, "srv.internal.").Peers(t.Context())
	if want := []string{"first.internal:1", "second.internal:2"}; err != nil || !slices.Equal(got, want) {
		t.Fatalf("Peers() = %q, %v; want %q", got, err, want)
	}
}

// Whatever a name server says, "could not ask" is never "nobody there".
func TestDNSFailuresAreErrors(t *testing.T) {
	t.Parallel()
	r := nameServer(t, zone{
		"failing.internal": {code: serverFailed},
		"empty.internal":   {},
		"zero.internal":    {addrs: []string{"0.0.0.0"}},
		"gone.internal":    {srv: []service{{port: 1, target: "."}}},
	})
	for name, says := range map[string]string{
		"failing.internal": "failing.internal",
		"empty.internal":   "wait until a node is registered",
		"absent.internal":  "check the name",
		"zero.internal":    "none can be used",
	} {
		got, err := discovery.DNSBy(r, name+".:7946").Peers(t.Context())
		if err == nil || got != nil || !strings.Contains(err.Error(), says) {
			t.Errorf("DNS of %s gave %q, %v; want an error with %q", name, got, err, says)
		}
	}
	for name, says := range map[string]string{
		"failing.internal": "failing.internal",
		"empty.internal":   "SRV records",
		"absent.internal":  "check the name",
		"gone.internal":    "none can be used",
	} {
		got, err := discovery.SRVBy(r, name+".").Peers(t.Context())
		if err == nil || got != nil || !strings.Contains(err.Error(), says) {
			t.Errorf("SRV of %s gave %q, %v; want an error with %q", name, got, err, says)
		}
	}
}

// Queries for AAAA that a firewall drops hide no IPv4 address, and the other way round.
func TestDNSOfOneFamilyOnly(t *testing.T) {
	t.Parallel()
	both := []string{"10.0.0.7", "fd00::7"}
	r := nameServer(t, zone{"four.internal": {addrs: both, quiet: typeAAAA}, "six.internal": {addrs: both, quiet: typeA}})
	for name, want := range map[string]string{"four.internal": "10.0.0.7:7946", "six.internal": "[fd00::7]:7946"} {
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // a query alone waits for 5 s
		defer cancel()
		if got, err := discovery.DNSBy(r, name+".:7946").Peers(ctx); err != nil || !slices.Equal(got, []string{want}) {
			t.Errorf("DNS of %s gave %q, %v; want %s", name, got, err, want)
		}
	}
}

func TestDNSThatIsDown(t *testing.T) {
	t.Parallel()
	r := nameServer(t, zone{"web.internal": {code: serverFailed}})
	discoverytest.RunDown(t, func(*testing.T) discovery.Provider { return discovery.DNSBy(r, "web.internal.:7946") })
	discoverytest.RunDown(t, func(*testing.T) discovery.Provider { return discovery.SRVBy(r, "web.internal.") })
}

func TestSilentNameServerEndsWithTheContext(t *testing.T) {
	t.Parallel()
	r := nameServer(t, zone{"web.internal": {code: noAnswer}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := discovery.DNSBy(r, "web.internal.:7946").Peers(ctx)
	if err == nil || time.Since(start) > 5*time.Second {
		t.Fatalf("Peers returned after %v with %v, want an error soon after 50ms", time.Since(start), err)
	}
}

func TestDNSNamesAreChecked(t *testing.T) {
	t.Parallel()
	for text, p := range map[string]discovery.Provider{
		`"web.internal" is not "host:port"`: discovery.DNS("web.internal"),
		`port "0" is not a number`:          discovery.DNS("web.internal:0"),
		`host "a b" is neither`:             discovery.SRV("a b"),
		`the host is empty`:                 discovery.SRV(""),
	} {
		if _, err := p.Peers(t.Context()); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error is %v, want one with %q", err, text)
		}
	}
}

func TestDNSOfAnIPAddress(t *testing.T) {
	t.Parallel()
	got, err := discovery.DNS("127.0.0.1:7946").Peers(t.Context())
	if err != nil || !slices.Equal(got, []string{"127.0.0.1:7946"}) {
		t.Fatalf("Peers() = %q, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := discovery.SRV("_x._tcp.runrig.invalid").Peers(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error is %v, want one of the cancelled context", err)
	}
}
