// Inventory is a service with state by key: each SKU belongs to one of its nodes, which
// has the stock in memory, and a store behind. Here three nodes run in one process, and
// one of them leaves while stock is being reserved. See inventory.go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/verticle"
	"github.com/runrig-go/runrig/verticle/lease"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	store := new(lease.Memory) // another process would have it: see verticle/lease
	if err := fill(ctx, store, "apple", 100); err != nil {
		return err
	}
	var nodes []*node
	for range 3 {
		n, err := start(ctx, store, nodes)
		if err != nil {
			return err
		}
		defer func() { _ = n.close() }() // one of them has been closed before
		nodes = append(nodes, n)
	}
	for i := range 101 {
		if i == 50 {
			if err := nodes[2].close(); err != nil { // what it has goes to the others
				return err
			}
		}
		left, err := reserve(ctx, nodes[0].bus, Reserve{"apple", 1})
		var no *bus.ReplyError
		switch {
		case errors.As(err, &no) && no.Code == CodeSoldOut:
			fmt.Println("sold out:", no.Message)
		case err != nil:
			return err
		case left.Left%25 == 0:
			fmt.Println(left.Left, "left")
		}
	}
	return nil
}

// fill puts so many pieces of a SKU into the store.
func fill(ctx context.Context, store lease.Store, sku string, count int) error {
	value, err := json.Marshal(Stock{sku, count})
	if err != nil {
		return err
	}
	_, err = store.Put(ctx, key(sku), value, 0)
	return err
}

// node is a node of the service.
type node struct {
	bus     *bus.EventBus
	cluster *cluster.Node
	deploy  *verticle.Deployment
}

func start(ctx context.Context, store lease.Store, others []*node) (*node, error) {
	eb := bus.New()
	var peers []string
	for _, o := range others {
		peers = append(peers, o.cluster.Self().Addr)
	}
	c, err := cluster.Join(ctx, eb, cluster.Config{Bind: "127.0.0.1:0", Discovery: discovery.Static(peers...)})
	if err != nil {
		return nil, err
	}
	d, err := verticle.Deploy(ctx, eb, &Inventory{Store: store})
	return &node{eb, c, d}, err
}

func (n *node) close() error {
	if n.deploy != nil {
		if err := n.deploy.Undeploy(context.Background()); err != nil {
			return err
		}
	}
	return n.cluster.Close()
}
