// Observed is a service of three nodes that can be seen from outside: figures for
// Prometheus, health checks, and traces. The nodes are in one process, which is for
// showing only; in a service each is a process of its own.
//
//	go run -C examples/observed . [-traces FILE] [-http HOST:PORT]
//
// Node n serves GET /metrics, /livez and /readyz at the port of -http plus n. A shop at
// the first node asks the stock at the second, which asks the price at the third; so a
// request is one trace over all of them. -board prints the dashboard for Grafana,
// -alerts the rules for Prometheus.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/busotel"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clusterprom"
	"github.com/runrig-go/runrig/cluster/inspect"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/verticle"
)

func main() {
	traces := flag.String("traces", filepath.Join(os.TempDir(), "observed-traces.json"), "`file` for the spans, a JSON document each")
	listen := flag.String("http", "127.0.0.1:9100", "`address` (host:port) of the first node's /metrics")
	board := flag.Bool("board", false, "print the dashboard for Grafana, and end")
	alerts := flag.Bool("alerts", false, "print the rules for Prometheus, and end")
	flag.Parse()
	switch {
	case *board:
		fmt.Printf("%s", clusterprom.Board)
		return
	case *alerts:
		fmt.Printf("%s", clusterprom.Alerts)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *traces, *listen); err != nil {
		log.Fatal(err)
	}
}

// run runs the service until ctx ends.
func run(ctx context.Context, traces, listen string) (err error) {
	file, err := os.Create(traces)
	if err != nil {
		return err
	}
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(file))
	if err != nil {
		return err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(time.Second)))
	defer func() { err = errors.Join(err, provider.Shutdown(context.WithoutCancel(ctx)), file.Close()) }()

	tracing := busotel.NewTracing(busotel.WithTracerProvider(provider))
	var first string
	for n, part := range []verticle.Verticle{shop(), stock(), price()} {
		addr, err := plus(listen, n)
		if err != nil {
			return fmt.Errorf("-http %s: %w", listen, err)
		}
		s, err := start(ctx, part, tracing, addr, first)
		if err != nil {
			return err
		}
		defer s.close()
		if n == 0 {
			first = s.node.Self().Addr
		}
		fmt.Printf("node %d: http://%s/metrics  /livez  /readyz\n", n+1, addr)
	}
	fmt.Printf("look: go run ./cluster/runrig members -node %s    traces: %s\n", first, traces)
	<-ctx.Done()
	return nil
}

// plus returns an address whose port is so much higher.
func plus(addr string, n int) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	p, err := strconv.Atoi(port)
	return net.JoinHostPort(host, strconv.Itoa(p+n)), err
}

// service is one node with what shows it.
type service struct {
	node *cluster.Node
	web  *http.Server
}

// start starts a node, serves what shows it at addr, and deploys its part.
func start(ctx context.Context, part verticle.Verticle, tracing *busotel.Tracing, addr, peer string) (*service, error) {
	eb := bus.New(bus.WithOutbound(tracing.Outbound), bus.WithInbound(tracing.Inbound))
	conf := cluster.Config{Admin: inspect.Handler}
	if peer != "" {
		conf.Discovery = discovery.Static(peer)
	}
	node, err := cluster.Join(ctx, eb, conf)
	if err != nil {
		return nil, err
	}
	figures := prometheus.NewRegistry()
	figures.MustRegister(clusterprom.New(node))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(figures, promhttp.HandlerOpts{}))
	mux.Handle("GET /livez", inspect.Livez(node))
	mux.Handle("GET /readyz", inspect.Readyz(node))
	s := &service{node: node, web: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, errors.Join(err, node.Close())
	}
	go func() { _ = s.web.Serve(l) }() // until close
	if _, err := verticle.Deploy(ctx, eb, part); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *service) close() {
	_ = s.node.Close()
	_ = s.web.Close()
}

// shop asks for the stock each second.
func shop() verticle.Verticle {
	return verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		d.Every(time.Second, func(ctx context.Context) error {
			if _, err := bus.Request[int](ctx, d.EventBus(), "stock", "pears"); err != nil && !errors.Is(err, bus.ErrNoConsumer) {
				d.Logger().Warn("no stock", "err", err)
			}
			return nil
		})
		return nil
	})
}

// stock knows how many there are, and asks what they cost.
func stock() verticle.Verticle {
	return verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		_, err := d.Consume("stock", bus.Respond(func(ctx context.Context, fruit string) (int, error) {
			cents, err := bus.Request[int](ctx, d.EventBus(), "price", fruit)
			return 12 * cents, err
		}))
		return err
	})
}

// price knows what things cost.
func price() verticle.Verticle {
	return verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		_, err := d.Consume("price", bus.Respond(func(_ context.Context, fruit string) (int, error) { return len(fruit), nil }))
		return err
	})
}
