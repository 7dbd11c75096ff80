package bus_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// No call is ever in two hands: with givings up and deadlines at all times, bodies
// of all sizes, and consumers that come and go on both nodes, each request ends with
// the reply to it, or with an end that is its own.
func TestCallsHaveTheirOwnEnds(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 2)
	limit := 3 * time.Second
	if testing.Short() {
		limit = 500 * time.Millisecond
	}
	end := time.Now().Add(limit)
	stays := consume(t, nodes[0].EventBus, "a", echo)
	defer stays.Close()
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() {
			for time.Now().Before(end) {
				c, err := nodes[i].Consume("a", bus.HandlerFunc(echo), bus.WithWindow(4<<10))
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.Known(t.Context())
				c.Close()
			}
		})
	}
	for i := range 16 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for n := uint64(0); time.Now().Before(end); n++ {
				askOwn(t, nodes[i%2].EventBus, rng, uint64(i)<<32|n)
			}
		})
	}
	all.Wait()
	for _, n := range nodes {
		within(t, "settled", func() bool { s := n.Stats(); return s.Sent == s.Settled+s.Bounced+s.Unknown })
	}
}

func echo(ctx context.Context, m *bus.Message) error {
	if rand.IntN(4) == 0 {
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
	}
	return m.Reply(ctx, m.Body[:8])
}

func askOwn(t *testing.T, eb *bus.EventBus, rng *rand.Rand, id uint64) {
	size := 8
	if rng.IntN(8) == 0 {
		size = 65<<10 + rng.IntN(100<<10)
	}
	body := make([]byte, size)
	binary.BigEndian.PutUint64(body, id)
	begin, timeout := time.Now(), time.Duration(50+rng.IntN(5000))*time.Microsecond
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	givesUp := rng.IntN(4) == 0
	if givesUp {
		time.AfterFunc(time.Duration(rng.IntN(3000))*time.Microsecond, cancel)
	}
	m, err := eb.Request(ctx, "a", body)
	took := time.Since(begin)
	switch {
	case err == nil && bytes.Equal(m.Body, body[:8]):
	case err == nil:
		t.Errorf("request %x got the reply to %x", id, m.Body)
	case errors.Is(err, context.DeadlineExceeded) && took >= timeout:
	case errors.Is(err, context.Canceled) && givesUp:
	default:
		t.Errorf("request %x of %v, given up %v, ended after %v: %v", id, timeout, givesUp, took, err)
	}
}
