package cluster

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/discovery"
)

var measure = flag.Bool("measure", false, "measure the gossip lane on the loopback; takes some minutes")

// TestMeasureGossipLane fills the table of the package documentation:
//
//	go test ./cluster -run MeasureGossipLane -measure -timeout 20m -v
//
// Nodes are real ones on the loopback, without their budget on the lane.
func TestMeasureGossipLane(t *testing.T) {
	if !*measure {
		t.Skip("needs -measure")
	}
	t.Logf("%5s %6s %8s | %6s %6s %6s | %s", "nodes", "bytes", "events/s", "p50", "p99", "max", "lost")
	for _, size := range []int{3, 5, 10} {
		nodes, buses := measured(t, size)
		for body, rates := range map[int][]int{64: {10, 50, 100, 200, 400}, 256: {10, 25, 50, 100}, 1000: {2, 5, 10, 20, 40}} {
			for _, rate := range rates {
				r := measureLane(t, buses, body, rate)
				t.Logf("%5d %6d %8d | %6v %6v %6v | %d of %d, %d late", size, body, rate,
					r.at(0.5), r.at(0.99), r.at(1), r.want-len(r.delays), r.want, r.late)
			}
		}
		for _, n := range nodes {
			_ = n.Close()
		}
	}
}

func measured(t *testing.T, size int) (nodes []*Node, buses []*bus.EventBus) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	var addrs []string
	for range size {
		eb := bus.New(bus.WithLogger(quiet))
		n, err := Join(t.Context(), eb, Config{
			Bind: "127.0.0.1:0", Secrets: NewSecrets("0123456789abcdef0123456789abcdef"),
			Discovery: discovery.Static(addrs...), Logger: quiet,
		})
		if err != nil {
			t.Fatal(err)
		}
		n.lane.budget = newBucket(1<<30, 1<<30)
		nodes, buses, addrs = append(nodes, n), append(buses, eb), append(addrs, n.Self().Addr)
	}
	return nodes, buses
}

// laneResult are the delays of what reached the nodes other than the sender
// within a second of the last event, and what came later.
type laneResult struct {
	want, late int
	delays     []time.Duration
}

func (r *laneResult) at(share float64) time.Duration {
	if len(r.delays) == 0 {
		return 0
	}
	slices.Sort(r.delays)
	return r.delays[int(share*float64(len(r.delays)-1))].Round(100 * time.Microsecond)
}

func measureLane(t *testing.T, buses []*bus.EventBus, body, rate int) *laneResult {
	const length = 8 * time.Second
	var mu sync.Mutex
	r := &laneResult{want: int(length.Seconds()) * rate * (len(buses) - 1)}
	handler := bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
		d := time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(m.Body))))
		mu.Lock()
		defer mu.Unlock()
		r.delays = append(r.delays, d)
		if d > time.Second {
			r.late++
		}
		return nil
	})
	address := fmt.Sprintf("measure/%d/%d", body, rate)
	for _, eb := range buses[1:] {
		c, err := eb.Consume(address, handler, bus.WithWindow(8<<20))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for range int(length.Seconds()) * rate {
		<-tick.C
		b := binary.BigEndian.AppendUint64(make([]byte, 0, body), uint64(time.Now().UnixNano()))
		if err := buses[0].Publish(t.Context(), address, b[:body], bus.Gossip()); err != nil {
			t.Fatal(err)
		}
	}
	<-time.After(12 * time.Second) // a push/pull has repaired what it can
	mu.Lock()
	defer mu.Unlock()
	return &laneResult{r.want, r.late, slices.Clone(r.delays)}
}
