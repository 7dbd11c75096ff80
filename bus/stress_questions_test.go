package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// Conversations of many at once, with givings up at all times, over links whose
// frames cross, that break, and between nodes that leave: each call ends in time,
// and an answer is to the question that was asked.
func TestConversationsWithFaults(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { talkWithFaults(t, seed) })
		})
	}
}

func talkWithFaults(t *testing.T, seed uint64) {
	const nodes, limit = 3, 3 * time.Second
	c := bustest.NewCluster(t, nodes, quiet, bus.WithDrainTimeout(10*time.Second))
	rng := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	random := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(n)
	}
	for i := range nodes {
		for j := range nodes {
			if i != j {
				c.Conn(i, j).SetDelay(func() time.Duration { return time.Duration(random(4000)) * time.Microsecond })
			}
		}
	}
	// part is a conversation from the side of one who holds m, until it ends.
	part := func(m *bus.Message, said string) {
		for m.WantsReply() {
			time.Sleep(time.Duration(random(20)) * time.Millisecond)
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			if random(10) == 0 {
				time.AfterFunc(time.Duration(random(30))*time.Millisecond, cancel)
			}
			heard := string(m.Body[:min(len(m.Body), 20)])
			if said != "" && !strings.HasPrefix(heard, said) {
				t.Errorf("to %q the answer is %q", said, heard)
			}
			body := []byte(fmt.Sprintf("%s.%d", heard, random(1000)))[:min(20, len(heard)+2)]
			if random(8) == 0 {
				body = append(body, make([]byte, 70<<10)...)
			}
			begin := time.Now()
			if random(4) == 0 {
				_ = m.Reply(ctx, body)
				cancel()
				return
			}
			a, err := m.Request(ctx, body)
			cancel()
			if took := time.Since(begin); took > limit+time.Second {
				t.Errorf("a question took %v: %v", took, err)
			}
			if err != nil {
				return
			}
			m, said = a, string(body[:min(len(body), 20)])
		}
	}
	for i := range nodes {
		consume(t, c.Bus(i), "talk", func(_ context.Context, m *bus.Message) error { part(m, ""); return nil }, bus.WithConcurrency(64))
	}
	var wg sync.WaitGroup
	for g := range 30 {
		wg.Go(func() {
			for range 20 {
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				said := fmt.Sprintf("%d.", random(1000))
				m, err := c.Bus(g%nodes).Request(ctx, "talk", []byte(said))
				cancel()
				if err == nil {
					part(m, said)
				}
			}
		})
	}
	for k := range 4 {
		time.Sleep(time.Duration(random(100)) * time.Millisecond)
		i := k % 2
		c.Break(i, 2)
		c.Link(i, 2)
	}
	leaving := time.Now()
	if err := c.Bus(2).Close(); err != nil || time.Since(leaving) > 10*time.Second {
		t.Errorf("left after %v: %v", time.Since(leaving), err)
	}
	wg.Wait()
	time.Sleep(2 * limit) // for those who ask one who has gone away
	atRest(t, c.Bus(0), c.Bus(1), c.Bus(2))
}

// The same on real connections, for the race detector.
func TestConversationsWithRaces(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 2)
	for _, n := range nodes {
		c, err := n.Consume("talk", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			a, err := m.Request(context.Background(), m.Body)
			if err == nil && a.WantsReply() {
				return a.Reply(ctx, a.Body)
			}
			return err
		}), bus.WithConcurrency(400)) // also for those whose question is never answered
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Known(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for k := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				give := k%5 == 0
				if give {
					time.AfterFunc(time.Duration(k)*5*time.Microsecond, cancel)
				}
				body := []byte(fmt.Sprint(g, " ", k))
				q, err := nodes[g%2].Request(ctx, "talk", body)
				var last *bus.Message
				if err == nil {
					last, err = q.Request(ctx, body)
				}
				cancel()
				if err != nil && !give || err == nil && !bytes.Equal(last.Body, body) {
					t.Errorf("%s: %v, %v", body, last, err)
				}
			}
		})
	}
	wg.Wait()
}
