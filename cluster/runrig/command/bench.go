package command

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/inspect"
	"github.com/runrig-go/runrig/discovery"
)

// observer is the tag of a node that only the command has made.
var observer = map[string]string{"role": "observer"}

// join makes the command a node of the cluster that the client's node belongs to.
func (c *call) join(ctx context.Context, client *inspect.Client) (*cluster.Node, error) {
	n, err := client.Node(ctx, inspect.Query{Addresses: -1, Members: -1, Links: -1, Verticles: -1})
	if err != nil {
		return nil, err
	}
	secrets, err := c.secrets()
	if err != nil {
		return nil, err
	}
	conf := cluster.Config{
		Cluster: n.Self.Cluster, Secrets: secrets, Tags: observer, Bind: ":0",
		Discovery: discovery.Static(n.Self.Address), Logger: slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if ap, err := netip.ParseAddrPort(n.Self.Address); err == nil && ap.Addr().IsLoopback() {
		conf.Bind = "127.0.0.1:0"
	}
	eb := bus.New(bus.WithLogger(conf.Logger))
	node, err := cluster.Join(ctx, eb, conf)
	if err != nil {
		return nil, err
	}
	if len(eb.Peers()) == 0 {
		_ = node.Close()
		return nil, fmt.Errorf("joined, and was linked with no node: %w", node.Trouble())
	}
	return node, nil
}

// measured is what bench finds, as JSON.
type measured struct {
	Verb     string         `json:"verb"`
	Address  string         `json:"address"`
	Messages int            `json:"messages"`
	Failed   map[string]int `json:"failed,omitempty"` // by bus.Class
	Seconds  float64        `json:"seconds"`
	Rate     float64        `json:"messages_per_second"`
	Bytes    float64        `json:"bytes_per_second"`
	P50      float64        `json:"p50_seconds"` // of a call, until it returns
	P90      float64        `json:"p90_seconds"`
	P99      float64        `json:"p99_seconds"`
	Most     float64        `json:"most_seconds"`
}

// bench joins and sends.
func bench(ctx context.Context, c *call) error {
	verb, address := c.args[0], c.args[1]
	if !slices.Contains([]string{"req", "send", "pub"}, verb) {
		return fmt.Errorf("%w: bench %s; there are req, send and pub", errUsage, show(verb))
	}
	client, err := c.attach(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	node, err := c.join(ctx, client)
	if err != nil {
		return err
	}
	defer func() { _ = node.Close() }()
	m := c.flood(ctx, node.EventBus(), verb, address)
	if c.json {
		return c.document(m)
	}
	fmt.Fprintf(c.out, "%d messages of %d bytes by %d at once, in %s: %.0f a second, %s a second\n", m.Messages, c.size, c.clients, seconds(m.Seconds), m.Rate, bytesText(uint64(m.Bytes)))
	fmt.Fprintf(c.out, "each took  p50 %s  p90 %s  p99 %s  most %s\n", seconds(m.P50), seconds(m.P90), seconds(m.P99), seconds(m.Most))
	for class, n := range m.Failed {
		fmt.Fprintf(c.out, "%s\n", c.style.paint(bad, fmt.Sprintf("%d failed: %s", n, class)))
	}
	if len(m.Failed) > 0 {
		return exitCode(exitFailed)
	}
	return nil
}

// flood sends all messages, and returns when they have been sent, or answered.
func (c *call) flood(ctx context.Context, eb *bus.EventBus, verb, address string) measured {
	body := bytes.Repeat([]byte{'x'}, c.size)
	var left atomic.Int64
	left.Store(int64(c.count))
	var mu sync.Mutex
	m := measured{Verb: verb, Address: address, Failed: map[string]int{}}
	took := make([]time.Duration, 0, c.count)
	var wg sync.WaitGroup
	began := time.Now()
	for range c.clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				begin := time.Now()
				err := c.one(ctx, eb, verb, address, body)
				d := time.Since(begin)
				mu.Lock()
				took = append(took, d)
				if err != nil {
					m.Failed[bus.Class(err)]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	m.Seconds = time.Since(began).Seconds()
	m.Messages = len(took)
	m.Rate = float64(m.Messages) / max(m.Seconds, 1e-9)
	m.Bytes = m.Rate * float64(c.size)
	slices.Sort(took)
	m.P50, m.P90, m.P99, m.Most = quantile(took, 0.5), quantile(took, 0.9), quantile(took, 0.99), quantile(took, 1)
	return m
}

func (c *call) one(ctx context.Context, eb *bus.EventBus, verb, address string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	switch verb {
	case "send":
		return eb.Send(ctx, address, body)
	case "pub":
		return eb.Publish(ctx, address, body)
	}
	_, err := eb.Request(ctx, address, body)
	return err
}

// quantile returns the time that a share of all took at most; they are sorted.
func quantile(all []time.Duration, share float64) float64 {
	if len(all) == 0 {
		return 0
	}
	return all[max(0, int(math.Ceil(share*float64(len(all))))-1)].Seconds()
}
