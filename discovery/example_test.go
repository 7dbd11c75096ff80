package discovery_test

import (
	"context"
	"fmt"

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
