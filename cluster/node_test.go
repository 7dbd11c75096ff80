package cluster_test

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
)

// logger is silent unless CLUSTER_TEST_LOG is set: serf logs for some time after
// its end, which a testing.T must not be asked to do.
func logger() *slog.Logger {
	var w io.Writer = io.Discard
	if os.Getenv("CLUSTER_TEST_LOG") != "" {
		w = os.Stderr
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// join starts a node on the loopback that is closed at the end of the test.
func join(t *testing.T, c cluster.Config, peers ...string) (*cluster.Node, *bus.EventBus) {
	t.Helper()
	if c.Bind == "" {
		c.Bind = "127.0.0.1:0"
	}
	if c.Discovery == nil {
		c.Discovery = discovery.Static(peers...)
	}
	c.Logger = logger()
	eb := bus.New()
	n, err := cluster.Join(t.Context(), eb, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n, eb
}

// eventually retries until ok, for at most ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// linked counts the members that a node is linked with.
func linked(n *cluster.Node) (count int) {
	for _, m := range n.Members() {
		if m.Boot != n.Self().Boot && m.Status == cluster.StatusAlive && m.Linked() {
			count++
		}
	}
	return count
}

const secret = "0123456789abcdef0123456789abcdef"

func TestThreeNodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]cluster.Config{
		"plain":  {},
		"secret": {Secrets: cluster.NewSecrets(secret)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.Name = "a"
			a, _ := join(t, c)
			if got := a.State(); got != cluster.StateAlone {
				t.Errorf("state of the first node is %v, want alone", got)
			}
			c.Name, c.Tags = "b", map[string]string{"zone": "z1"}
			began := time.Now()
			b, _ := join(t, c, a.Self().Addr)
			if got := linked(b); got != 1 {
				t.Errorf("b is linked with %d nodes when Join returns, want 1", got)
			}
			c.Name, c.Tags = "c", nil
			d, _ := join(t, c, b.Self().Addr, a.Self().Addr)
			if got := linked(d); got != 2 {
				t.Errorf("c is linked with %d nodes when Join returns, want 2", got)
			}
			t.Logf("joined within %v", time.Since(began))
			for _, n := range []*cluster.Node{a, b, d} {
				eventually(t, n.Self().Name+" is linked with both", func() bool { return linked(n) == 2 })
				if got := n.State(); got != cluster.StateReady {
					t.Errorf("state of %v is %v, want ready", n.Self(), got)
				}
			}
			for _, m := range a.Members() {
				if m.Name == "b" && m.Tags["zone"] != "z1" {
					t.Errorf("tags of b are %v", m.Tags)
				}
			}

			events := a.Events(t.Context())
			began = time.Now()
			if err := b.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			t.Logf("closed within %v", time.Since(began))
			if got := b.State(); got != cluster.StateLeft {
				t.Errorf("state of b is %v, want left", got)
			}
			for e := range events {
				if e, ok := e.(cluster.Left); ok && e.Member.Name == "b" {
					break
				}
			}
			eventually(t, "b's link is gone", func() bool { return linked(a) == 1 && linked(d) == 1 })
		})
	}
}

// A bus that is closed takes its node along.
func TestCloseOfTheBus(t *testing.T) {
	t.Parallel()
	n, eb := join(t, cluster.Config{})
	if err := eb.Close(); err != nil {
		t.Fatal(err)
	}
	<-n.Done()
	if n.State() != cluster.StateLeft || n.Err() != nil {
		t.Errorf("state %v, error %v; want left, nil", n.State(), n.Err())
	}
	if err := n.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func newBus() *bus.EventBus { return bus.New(bus.WithLogger(logger())) }

// slow is a provider that answers when it is let.
type slow struct {
	addr string
	free chan struct{}
}

func (s slow) Peers(ctx context.Context) ([]string, error) {
	select {
	case <-s.free:
		return []string{s.addr}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Nodes on IPv6, and nodes that are bound to all addresses.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]cluster.Config{
		"IPv6":          {Bind: "[::1]:0"},
		"all addresses": {Bind: ":0", Secrets: cluster.NewSecrets(secret)},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c.Logger = logger()
			c.Discovery = discovery.Static()
			a, err := cluster.Join(t.Context(), newBus(), c)
			if err != nil {
				t.Skip("not possible here:", err)
			}
			t.Cleanup(func() { _ = a.Close() })
			ap, err := netip.ParseAddrPort(a.Self().Addr)
			if err != nil || ap.Addr().IsUnspecified() || ap.Port() == 0 {
				t.Fatalf("advertises %s", a.Self().Addr)
			}
			c.Discovery = nil
			b, _ := join(t, c, a.Self().Addr)
			eventually(t, "the nodes are linked", func() bool { return linked(a) == 1 && linked(b) == 1 })
		})
	}
}

// A bus joins once.
func TestJoinTwice(t *testing.T) {
	t.Parallel()
	_, eb := join(t, cluster.Config{})
	n, err := cluster.Join(t.Context(), eb, cluster.Config{Bind: "127.0.0.1:0", Logger: logger()})
	if err == nil {
		_ = n.Close()
		t.Fatal("joined again")
	}
	t.Log(err)
}
