package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
)

// discard keeps the examples' output to what they print.
var discard = slog.New(slog.DiscardHandler)

// two returns two nodes that are linked, and their buses.
func two(ctx context.Context) (a, b *cluster.Node, ebA, ebB *bus.EventBus, err error) {
	ebA, ebB = bus.New(bus.WithLogger(discard)), bus.New(bus.WithLogger(discard))
	if a, err = cluster.Join(ctx, ebA, cluster.Config{Name: "a", Bind: "127.0.0.1:0", Logger: discard}); err != nil {
		return
	}
	b, err = cluster.Join(ctx, ebB, cluster.Config{
		Name: "b", Bind: "127.0.0.1:0", Logger: discard,
		Discovery: discovery.Static(a.Self().Addr),
	})
	return
}

func ExampleJoin() {
	ctx := context.Background()
	a := bus.New(bus.WithLogger(discard))
	first, err := cluster.Join(ctx, a, cluster.Config{Name: "a", Bind: "127.0.0.1:0", Logger: discard})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = first.Close() }()
	if _, err := a.Consume("greet", bus.Respond(func(_ context.Context, name string) (string, error) {
		return "hello, " + name, nil
	})); err != nil {
		fmt.Println(err)
		return
	}

	b := bus.New(bus.WithLogger(discard)) // in another process
	second, err := cluster.Join(ctx, b, cluster.Config{
		Name: "b", Bind: "127.0.0.1:0", Logger: discard,
		Discovery: discovery.Static(first.Self().Addr),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = second.Close() }()
	fmt.Println(bus.Request[string](ctx, b, "greet", "ada"))
	// Output: hello, ada <nil>
}

func ExampleJoin_badConfig() {
	_, err := cluster.Join(context.Background(), bus.New(), cluster.Config{Bind: "0.0.0.0:7946"})
	fmt.Println(err)
	// Output: cluster: Config.Bind is "0.0.0.0:7946", which others can reach, but there is neither Config.Secrets nor Config.Insecure: set Secrets, or bind a loopback address
}

func ExampleNode_Members() {
	a, b, _, _, err := two(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _, _ = a.Close(), b.Close() }()
	for _, m := range b.Members() {
		fmt.Println(m.Name, m.Status, m.Linked())
	}
	fmt.Println(b.Self().Name, b.State())
	// Output:
	// a alive true
	// b alive true
	// b ready
}

// A readiness check asks whether the node serves, and tells a human what is wrong
// apart from that.
func ExampleNode_Serving() {
	a, b, _, _, err := two(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = a.Close() }()
	ready := func(w http.ResponseWriter, _ *http.Request) {
		if !b.Serving() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = fmt.Fprintln(w, b.State(), b.Trouble())
	}
	check := func() {
		w := httptest.NewRecorder()
		ready(w, nil)
		fmt.Print(w.Code, " ", w.Body)
	}
	check()
	_ = b.Close()
	check()
	// Output:
	// 200 ready <nil>
	// 503 left <nil>
}

func ExampleNode_Ping() {
	a, b, _, _, err := two(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _, _ = a.Close(), b.Close() }()
	took, err := b.Ping(a.Self())
	fmt.Println(took < time.Second, err)
	// Output: true <nil>
}

func ExampleNode_Events() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	a, b, _, _, err := two(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = a.Close() }()
	events := b.Events(ctx)
	for range 2 {
		switch e := (<-events).(type) {
		case cluster.Joined:
			fmt.Println(e.Member.Name, "has joined")
		case cluster.Linked:
			fmt.Println(e.Member.Name, "is linked")
		}
	}
	_ = b.Close()
	for range events { // it ends with the node
	}
	fmt.Println(b.State())
	// Output:
	// a has joined
	// a is linked
	// left
}

func ExampleNode_Close() {
	a, b, _, eb, err := two(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = a.Close() }()
	fmt.Println(b.Close(), b.State(), b.Err())
	<-b.Done()
	fmt.Println(errors.Is(eb.Publish(context.Background(), "x", "y"), bus.ErrClosed))
	// Output:
	// <nil> left <nil>
	// true
}

func ExampleNode_Stats() {
	n, err := cluster.Join(context.Background(), bus.New(bus.WithLogger(discard)), cluster.Config{Bind: "127.0.0.1:0", Logger: discard})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = n.Close() }()
	s := n.Stats()
	fmt.Println(s.Refused.Sum(), s.Refused.Secret, s.RefusedBy.Secret, s.Garbage, s.TimedOut, s.DiscoveryErrors)
	// Output: 0 0 0 0 0 0
}

func ExampleSecretsFromEnv() {
	_ = os.Setenv("EXAMPLE_SECRET", "0123456789abcdef0123456789abcdef, fedcba9876543210fedcba9876543210")
	fmt.Println(cluster.SecretsFromEnv("EXAMPLE_SECRET"))

	_, err := cluster.Join(context.Background(), bus.New(), cluster.Config{Secrets: cluster.SecretsFromEnv("EXAMPLE_MISSING")})
	fmt.Println(err)
	// Output:
	// [2 secrets, redacted]
	// cluster: Config.Secrets: environment variable EXAMPLE_MISSING is not set or empty
}

func ExampleNewSecrets() {
	fmt.Println(cluster.NewSecrets("the new one, of thirty-two bytes", "the old one, of thirty-two bytes"))

	_, err := cluster.Join(context.Background(), bus.New(), cluster.Config{Secrets: cluster.NewSecrets("hunter2")})
	fmt.Println(err)
	// Output:
	// [2 secrets, redacted]
	// cluster: Config.Secrets: secret 1 of 1 has 7 bytes, needed are at least 32 random ones
}

func ExampleRefusedError() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	a, err := cluster.Join(ctx, bus.New(bus.WithLogger(discard)), cluster.Config{Cluster: "blue", Bind: "127.0.0.1:0", Logger: discard})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = a.Close() }()
	events := a.Events(ctx)
	b, err := cluster.Join(ctx, bus.New(bus.WithLogger(discard)), cluster.Config{
		Cluster: "green", Bind: "127.0.0.1:0", Logger: discard, Discovery: discovery.Static(a.Self().Addr),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = b.Close() }()
	refused := (<-events).(cluster.Refused)
	fmt.Println(errors.Is(refused.Err, cluster.ErrCluster), refused.Err.Detail)
	// Output: true this node's cluster is "blue", the other's "green"
}

// A node tells its state, and when and why it is down.
func ExampleNode_Done() {
	node, err := cluster.Join(context.Background(), bus.New(bus.WithLogger(discard)), cluster.Config{Bind: "127.0.0.1:0", Logger: discard})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(node.State() != cluster.StateLeft)
	_ = node.Close()
	<-node.Done()
	fmt.Println(node.State(), node.Err())
	// Output:
	// true
	// left <nil>
}
