// Service is a small service as it goes into production: nodes that find each other
// and share a secret, health checks, counters, and an end without losses. Each
// process answers at the address "greet"; over HTTP any of them asks any.
//
//	RUNRIG_SECRET     the secret of the cluster: openssl rand -base64 32
//	SERVICE_PEERS     where other nodes are: host:port,host:port
//	SERVICE_PEERS_DNS instead: a name whose addresses are the nodes', with their port
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/inspect"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/verticle"
)

func main() {
	bind := flag.String("bind", "", "`address` of the node, host:port, TCP and UDP (default :7946)")
	listen := flag.String("http", "127.0.0.1:8080", "`address` of HTTP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bind, *listen); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, bind, listen string) error {
	eb := bus.New()
	node, err := cluster.Join(ctx, eb, cluster.Config{
		Cluster:   "greetings",
		Bind:      bind,
		Discovery: others(),
		Secrets:   cluster.SecretsFromEnv("RUNRIG_SECRET"),
		Admin:     inspect.Handler, // whoever has the secret may look, by the command runrig
	})
	if err != nil {
		return err
	}
	err = verticle.Run(ctx, eb, watch(node), greeter(node.Self().Addr), &Web{Listen: listen, Node: node})
	return errors.Join(err, node.Close())
}

// others says where other nodes may be.
func others() discovery.Provider {
	if name := os.Getenv("SERVICE_PEERS_DNS"); name != "" {
		return discovery.DNS(name)
	}
	return discovery.Env("SERVICE_PEERS")
}

// greeter answers at an address of the bus.
func greeter(here string) verticle.Verticle {
	return verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		_, err := d.Consume("greet", bus.Respond(func(_ context.Context, name string) (string, error) {
			return "hello, " + name + ", from " + here, nil
		}))
		return err
	})
}

// watch ends the program if its node fails, so that it is started anew.
func watch(node *cluster.Node) verticle.Verticle {
	return verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		d.Go(func(ctx context.Context) error {
			select {
			case <-node.Done():
				return node.Err()
			case <-ctx.Done():
				return nil
			}
		})
		return nil
	})
}
