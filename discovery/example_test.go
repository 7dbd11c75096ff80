package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/runrig-go/runrig/discovery"
)

func ExampleStatic() {
	p := discovery.Static("10.0.0.7:7946", "node-b.example:7946")
	peers, err := p.Peers(context.Background())
	fmt.Println(peers, err)

	_, err = discovery.Static("10.0.0.7").Peers(context.Background())
	fmt.Println(err)
	// Output:
	// [10.0.0.7:7946 node-b.example:7946] <nil>
	// discovery: static address "10.0.0.7" is not "host:port": address 10.0.0.7: missing port in address
}

func ExampleProviderFunc() {
	registry := map[string]string{"db": "10.0.0.9:5432", "node": "10.0.0.7:7946"}
	var p discovery.Provider = discovery.ProviderFunc(func(context.Context) ([]string, error) {
		return []string{registry["node"]}, nil
	})
	peers, err := p.Peers(context.Background())
	fmt.Println(peers, err)
	// Output: [10.0.0.7:7946] <nil>
}

// placed is a provider that also knows where its own node is.
type placed struct{ discovery.Provider }

func (placed) Self(context.Context) (discovery.Self, error) {
	return discovery.Self{Name: "rack-7", Addr: "10.0.0.8", Tags: map[string]string{"zone": "cellar"}}, nil
}

func ExampleIdentifier() {
	var p discovery.Provider = placed{discovery.Static("10.0.0.7:7946")}
	if id, ok := p.(discovery.Identifier); ok {
		self, err := id.Self(context.Background())
		fmt.Println(self.Name, self.Addr, self.Tags["zone"], err)
	}
	// Output: rack-7 10.0.0.8 cellar <nil>
}

// The nodes of a headless Kubernetes service, or of a Cloud Map service with A records.
func ExampleMisconfigured() {
	p := discovery.ProviderFunc(func(context.Context) ([]string, error) {
		return nil, discovery.Misconfigured(errors.New("registry: token was revoked; set REGISTRY_TOKEN"))
	})
	_, err := p.Peers(context.Background())
	fmt.Println(err, discovery.IsMisconfigured(err))
	// Output: registry: token was revoked; set REGISTRY_TOKEN true
}

func ExampleDNS() {
	p := discovery.DNS("localhost:7946")
	peers, err := p.Peers(context.Background())
	fmt.Println(len(peers) > 0, err)

	_, err = discovery.DNS("node.web.internal").Peers(context.Background())
	fmt.Println(err)
	// Output:
	// true <nil>
	// discovery: DNS name and port "node.web.internal" is not "host:port": address node.web.internal: missing port in address
}

// The nodes of a Cloud Map service with SRV records: in any network mode, at any port.
func ExampleSRV() {
	p := discovery.SRV("_node._tcp.web.internal")
	fmt.Println(p != nil)
	_, err := discovery.SRV("web internal").Peers(context.Background())
	fmt.Println(err)
	// Output:
	// true
	// discovery: SRV name: host "web internal" is neither an IP address nor a host name
}

func ExampleFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "peers")
	if err := os.WriteFile(path, []byte("10.0.0.7:7946 # the old one\n10.0.0.8:7946\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	peers, err := discovery.File(path).Peers(context.Background())
	fmt.Println(peers, err)
	// Output: [10.0.0.7:7946 10.0.0.8:7946] <nil>
}

func ExampleEnv() {
	os.Setenv("EXAMPLE_PEERS", "10.0.0.7:7946,10.0.0.8:7946")
	defer os.Unsetenv("EXAMPLE_PEERS")
	peers, err := discovery.Env("EXAMPLE_PEERS").Peers(context.Background())
	fmt.Println(peers, err)
	// Output: [10.0.0.7:7946 10.0.0.8:7946] <nil>
}

// failing is a provider that cannot be asked.
func failing(context.Context) ([]string, error) { return nil, errors.New("registry down") }

func ExampleFirst() {
	p := discovery.First(discovery.ProviderFunc(failing), discovery.Static("10.0.0.7:7946"))
	peers, err := p.Peers(context.Background())
	fmt.Println(peers, err)
	// Output: [10.0.0.7:7946] <nil>
}

// Nodes in two places are one cluster.
func ExampleMerge() {
	east, west := discovery.Static("10.0.0.7:7946", "10.0.0.8:7946"), discovery.Static("10.9.0.7:7946")
	peers, err := discovery.Merge(east, west).Peers(context.Background())
	fmt.Println(peers, err)

	_, err = discovery.Merge(east, discovery.ProviderFunc(failing)).Peers(context.Background())
	fmt.Println(err)
	// Output:
	// [10.0.0.7:7946 10.9.0.7:7946 10.0.0.8:7946] <nil>
	// discovery: not all of 2 providers could be asked: registry down
}

func ExampleLastGood() {
	registry := []string{"10.0.0.7:7946"}
	p := discovery.LastGood(discovery.ProviderFunc(func(ctx context.Context) ([]string, error) {
		if registry == nil {
			return failing(ctx)
		}
		return registry, nil
	}), slog.New(slog.DiscardHandler))
	fmt.Println(p.Peers(context.Background()))
	registry = nil
	fmt.Println(p.Peers(context.Background())) // and a warning in the log
	// Output:
	// [10.0.0.7:7946] <nil>
	// [10.0.0.7:7946] <nil>
}
