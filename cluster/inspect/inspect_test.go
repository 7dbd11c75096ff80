package inspect_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/cluster/inspect"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/verticle"
)

var (
	secrets = cluster.NewSecrets("0123456789abcdef0123456789abcdef")
	quiet   = slog.New(slog.DiscardHandler)
)

// join starts a node on the loopback that is closed at the end of the test.
func join(t *testing.T, c cluster.Config, peers ...string) *cluster.Node {
	t.Helper()
	c.Bind, c.Discovery, c.Logger = "127.0.0.1:0", discovery.Static(peers...), quiet
	n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(quiet)), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// eventually retries until ok, for at most ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func consume(t *testing.T, eb *bus.EventBus, address string, h bus.HandlerFunc) {
	t.Helper()
	c, err := eb.Consume(address, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Known(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func nothing(context.Context, *bus.Message) error { return nil }

// addressOf returns what a snapshot has of an address.
func addressOf(n inspect.Node, address string) (a inspect.Address) {
	for _, a := range n.Addresses {
		if a.Address == address {
			return a
		}
	}
	return a
}

// TestNode: a snapshot has who the node is, whom it knows, what it consumes and what
// is deployed.
func TestNode(t *testing.T) {
	t.Parallel()
	a := join(t, cluster.Config{Name: "a", Secrets: secrets, Tags: map[string]string{"zone": "z"}, Cluster: "c"})
	b := join(t, cluster.Config{Name: "b", Secrets: secrets, Cluster: "c"}, a.Self().Addr)
	d, err := verticle.Deploy(t.Context(), a.EventBus(), verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		_, err := d.Consume("work", bus.HandlerFunc(nothing))
		return err
	}), verticle.WithName("worker"), verticle.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.EventBus().Request(t.Context(), "work", nil); err != nil {
		t.Fatal(err)
	}
	i := inspect.Of(a)
	if i != inspect.Of(a) {
		t.Error("a node has two inspectors")
	}
	n, err := i.Node(inspect.Query{})
	if err != nil {
		t.Fatal(err)
	}
	s, self := n.Self, a.Self()
	if s.ID != self.String() || s.Name != "a" || s.Boot != fmt.Sprintf("%016x", self.Boot) || s.Address != self.Addr || s.Tags["zone"] != "z" ||
		s.Cluster != "c" || !s.Secured || s.State != "ready" || !s.Serving || len(s.Trouble) > 0 || s.Started.IsZero() || s.MaxVersion < 1 {
		t.Errorf("self: %+v", s)
	}
	if n.Version != inspect.Version || n.Process.PID == 0 || n.Process.Goroutines == 0 || n.Process.Memory == 0 || n.Process.Go == "" {
		t.Errorf("process: %+v", n.Process)
	}
	if len(n.Members) != 2 || !n.Members[1].Linked || n.Members[1].Name != "b" {
		t.Errorf("members: %+v", n.Members)
	}
	if len(n.Links) != 1 || n.Links[0].ID != b.Self().String() || *n.Links[0].BytesIn == 0 || *n.Links[0].BytesOut == 0 {
		t.Errorf("links: %+v", n.Links)
	}
	if w := addressOf(n, "work"); w.Consumers != 1 || w.Local != 1 || w.Handled != 1 {
		t.Errorf("address: %+v", w)
	}
	if len(n.Verticles) != 1 || n.Verticles[0].ID != d.ID() || n.Verticles[0].Name != "worker" || n.Verticles[0].State != "running" ||
		!slices.Equal(n.Verticles[0].Consumers, []string{"work"}) {
		t.Errorf("verticles: %+v", n.Verticles)
	}
	if n.Messages.Handled == 0 {
		t.Errorf("messages %+v", n.Messages)
	}
	eventually(t, "what changed is counted", func() bool {
		n, _ := i.Node(inspect.Query{})
		return n.Changes["joined"] == 1 && n.Changes["linked"] == 1
	})
}

// clusterOf runs f with a cluster of n nodes that can be inspected, in virtual time.
func clusterOf(t *testing.T, n int, f func(t *testing.T, c *clustertest.Cluster)) {
	t.Helper()
	t.Parallel()
	clustertest.Run(t, n, func(t *testing.T, c *clustertest.Cluster) {
		for k := range n {
			inspect.Of(c.Node(k).Node)
		}
		time.Sleep(time.Second) // until all know all
		f(t, c)
	})
}

func ask(t *testing.T, n *clustertest.Node, q inspect.Query) inspect.Cluster {
	t.Helper()
	c, err := inspect.Of(n.Node).Cluster(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func names(c inspect.Cluster) (answered, missing []string) {
	for _, n := range c.Nodes {
		answered = append(answered, n.Self.Name)
	}
	for _, m := range c.Missing {
		missing = append(missing, m.Name)
	}
	return answered, missing
}

// TestClusterSnapshot: any node tells of all, once each.
func TestClusterSnapshot(t *testing.T) {
	clusterOf(t, 5, func(t *testing.T, c *clustertest.Cluster) {
		for k := range 5 {
			s := ask(t, c.Node(k), inspect.Query{})
			if answered, missing := names(s); len(answered) != 5 || !slices.IsSorted(answered) || missing != nil || len(s.Members) != 5 || s.Asker != c.Node(k).Self().String() {
				t.Errorf("node %d: %v have answered, %v are missing, %d members", k, answered, missing, len(s.Members))
			}
			for _, n := range s.Nodes {
				if len(n.Links) != 4 || n.Members != nil {
					t.Errorf("%s has %d links and %d members", n.Self.Name, len(n.Links), len(n.Members))
				}
			}
		}
	})
}

// TestMissing: a node that does not answer within a second is missing by name, and why.
func TestMissing(t *testing.T) {
	for name, fault := range map[string]struct {
		do     func(c *clustertest.Cluster)
		reason string
	}{
		"stopped": {func(c *clustertest.Cluster) { c.Pause(2) }, "no answer within 1s"},
		"cut off": {func(c *clustertest.Cluster) { c.Silence(2) }, "no answer within 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			clusterOf(t, 3, func(t *testing.T, c *clustertest.Cluster) {
				fault.do(c)
				began := time.Now()
				s := ask(t, c.Node(0), inspect.Query{})
				if took := time.Since(began); took > 1100*time.Millisecond {
					t.Errorf("it took %v", took)
				}
				answered, missing := names(s)
				if len(answered) != 2 || len(missing) != 1 || missing[0] != c.Node(2).Self().Name || s.Missing[0].Reason != fault.reason || !s.Missing[0].Linked {
					t.Errorf("%v have answered; missing %+v", answered, s.Missing)
				}
			})
		})
	}
}

// TestMissingWithoutInspector: so is one whose program has no inspector, and one that
// is alive and not linked.
func TestMissingWithoutInspector(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		inspect.Of(c.Node(0).Node)
		inspect.Of(c.Node(1).Node)
		time.Sleep(time.Second)
		s := ask(t, c.Node(0), inspect.Query{})
		if len(s.Missing) != 1 || !strings.Contains(s.Missing[0].Reason, "no inspector") {
			t.Errorf("missing %+v", s.Missing)
		}
		c.Block(0, 1)
		c.Block(1, 0)
		c.Await("no link between two nodes", 20*time.Second, func() bool { return !c.Linked(0, 1) && len(c.Node(0).Bus.Peers()) == 1 })
		for _, m := range ask(t, c.Node(0), inspect.Query{}).Missing {
			if m.Name == c.Node(1).Self().Name && (m.Linked || !strings.HasPrefix(m.Reason, "not linked")) {
				t.Errorf("missing %+v", m)
			}
		}
	})
}

// TestBounded: a snapshot leaves out what is too much, and the counters of the rest add
// up.
func TestBounded(t *testing.T) {
	t.Parallel()
	n := join(t, cluster.Config{})
	eb := n.EventBus()
	const addresses = 10_000
	for k := range addresses {
		if _, err := eb.Consume(fmt.Sprintf("a.%05d", k), bus.HandlerFunc(nothing)); err != nil {
			t.Fatal(err)
		}
	}
	fail := func(context.Context, *bus.Message) error { return errors.New("no") }
	consume(t, eb, "busy", nothing)
	consume(t, eb, "sick", fail)
	for range 10 {
		_, _ = eb.Request(t.Context(), "busy", nil)
	}
	_ = eb.Send(t.Context(), "sick", nil)
	eventually(t, "all is handled", func() bool { return eb.Stats().Handled >= 11 })
	i := inspect.Of(n)
	for _, c := range []struct {
		q     inspect.Query
		count int
		has   string
	}{
		{inspect.Query{}, 200, "busy"},
		{inspect.Query{Addresses: 1}, 1, "busy"},
		{inspect.Query{Addresses: 1, Sort: inspect.SortPain}, 1, "sick"},
		{inspect.Query{Addresses: 20_000}, 10_000, "busy"},
		{inspect.Query{Match: "a.0000"}, 10, "a.00007"},
		{inspect.Query{Addresses: -1}, 0, ""},
	} {
		s, err := i.Node(c.q)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Addresses) != c.count || c.has != "" && addressOf(s, c.has).Address == "" {
			t.Errorf("%+v: %d addresses, %q among them: %v", c.q, len(s.Addresses), c.has, addressOf(s, c.has))
		}
		var sum inspect.Messages
		for _, a := range s.Addresses {
			sum.Add(a.Messages)
		}
		if s.LeftOut.Rest != nil {
			sum.Add(*s.LeftOut.Rest)
		}
		if c.q.Match == "" && (sum.Handled != s.Messages.Handled || len(s.Addresses)+s.LeftOut.Addresses < addresses) {
			t.Errorf("%+v: the sum is %+v, of %+v; %d left out", c.q, sum, s.Messages, s.LeftOut.Addresses)
		}
	}
	if _, err := i.Node(inspect.Query{Sort: "name"}); err == nil || !strings.Contains(err.Error(), `"name"`) {
		t.Errorf("a sort that is none: %v", err)
	}
}

// TestJSON: a document survives being encoded, whatever an address has in it, and what
// is not known is absent.
func TestJSON(t *testing.T) {
	t.Parallel()
	n := join(t, cluster.Config{})
	hostile := []string{"\x1b[31mred\x1b[0m", "<img src=x onerror=alert(1)>", "a\nb\x00c", "\u202ertl", strings.Repeat("x", 255)}
	for _, a := range hostile {
		consume(t, n.EventBus(), a, nothing)
	}
	s, err := inspect.Of(n).Cluster(t.Context(), inspect.Query{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(b, func(c byte) bool { return c < ' ' }); i >= 0 {
		t.Errorf("a control byte in %q", b[i:min(i+40, len(b))])
	}
	for _, absent := range []string{"round_trip", "bytes_in", "left_out", "missing", "failed_at"} {
		if strings.Contains(string(b), absent) {
			t.Errorf("it has %q: %s", absent, b)
		}
	}
	var back inspect.Cluster
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	for _, a := range hostile {
		if addressOf(back.Nodes[0], a).Consumers != 1 {
			t.Errorf("address %q is gone", a)
		}
	}
}
