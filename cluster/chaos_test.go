package cluster_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/clustertest"
)

var (
	chaosSeeds = flag.Int("chaos", 10, "seeds of TestChaos")
	chaosFirst = flag.Uint64("chaos.first", 1, "the first of them")
)

// Whatever happens to a cluster, each request ends once, with a reply that is its
// own or a typed error, by its deadline. And when it is over, those who live are
// linked with each other, and with nobody else, within 15 s.
func TestChaos(t *testing.T) {
	t.Parallel()
	for i := range *chaosSeeds {
		seed := *chaosFirst + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			clustertest.Run(t, 5, func(t *testing.T, c *clustertest.Cluster) {
				h := &chaos{t: t, c: c, rng: rand.New(rand.NewPCG(seed, 99)), alive: []int{0, 1, 2, 3, 4}}
				for _, i := range h.alive {
					h.consume(i)
				}
				for range 12 {
					h.step()
					for range 1 + h.rng.IntN(30) {
						h.request()
						time.Sleep(time.Duration(h.rng.IntN(400)) * time.Millisecond)
					}
				}
				h.wg.Wait()
				c.Heal()
				c.Network().SetLoss(0)
				began := time.Now()
				for !c.Linked(h.alive...) {
					if time.Since(began) > 15*time.Second {
						h.complain(t)
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
				t.Logf("%v: healed after %v; %d replies, %d errors", h.did, time.Since(began), h.replies.Load(), h.errs.Load())
				if h.replies.Load() == 0 {
					t.Error("not one request was answered")
				}
			}, clustertest.WithSeed(seed), secured())
		})
	}
}

// chaos does things to a cluster.
type chaos struct {
	t     *testing.T
	c     *clustertest.Cluster
	rng   *rand.Rand
	alive []int
	dead  []int
	did   []string

	wg            sync.WaitGroup // requests
	replies, errs atomic.Int64
}

// consume makes a node answer requests with what they ask.
func (h *chaos) consume(i int) {
	_, err := h.c.Node(i).Bus.Consume("echo", bus.Respond(func(_ context.Context, nonce uint64) (uint64, error) {
		time.Sleep(time.Duration(nonce%20) * time.Millisecond)
		return nonce, nil
	}))
	if err != nil {
		h.t.Error(err)
	}
}

// request sends one request from a living node, and judges how it ends.
func (h *chaos) request() {
	const limit = 2 * time.Second
	eb, nonce := h.c.Node(h.pick()).Bus, h.rng.Uint64()
	h.wg.Go(func() {
		ctx, cancel := context.WithTimeout(h.t.Context(), limit)
		defer cancel()
		began := time.Now()
		got, err := bus.Request[uint64](ctx, eb, "echo", nonce)
		if took := time.Since(began); took > limit+100*time.Millisecond {
			h.t.Errorf("a request ended after %v: %v", took, err)
		}
		switch {
		case err == nil && got != nonce:
			h.t.Errorf("asked %d, answered %d", nonce, got)
		case err == nil:
			h.replies.Add(1)
		case errors.Is(err, bus.ErrNoConsumer), errors.Is(err, bus.ErrLinkLost), errors.Is(err, bus.ErrBusy),
			errors.Is(err, bus.ErrClosed), errors.Is(err, context.DeadlineExceeded):
			h.errs.Add(1)
		default:
			h.t.Errorf("a request failed with %v", err)
		}
	})
}

func (h *chaos) note(format string, args ...any) { h.did = append(h.did, fmt.Sprintf(format, args...)) }

// pick takes a living node.
func (h *chaos) pick() int { return h.alive[h.rng.IntN(len(h.alive))] }

// end takes a node from the living, if enough are left.
func (h *chaos) end(what string, f func(int)) {
	if len(h.alive) <= 2 {
		return
	}
	i := h.pick()
	h.alive = slices.DeleteFunc(h.alive, func(j int) bool { return j == i })
	h.dead = append(h.dead, i)
	h.note("%s %d", what, i)
	f(i)
}

func (h *chaos) step() {
	switch h.rng.IntN(10) {
	case 0:
		h.end("kill", h.c.Kill)
	case 1:
		h.end("power off", h.c.PowerOff)
	case 2:
		h.end("close", func(i int) { _ = h.c.Node(i).Close() })
	case 3:
		i := h.c.Start()
		h.note("start %d", i)
		h.alive = append(h.alive, i)
		h.consume(i)
	case 4:
		h.restart()
	case 5:
		i := h.pick()
		h.note("silence %d", i)
		h.c.Silence(i)
	case 6:
		i := h.pick()
		h.note("partition %d", i)
		h.c.Partition([]int{i})
	case 7:
		h.note("heal")
		h.c.Heal()
	case 8:
		i, j := h.pick(), h.pick()
		h.note("reset %d-%d", i, j)
		h.c.Reset(i, j)
	case 9:
		i, j := h.pick(), h.pick()
		h.note("cut %d-%d, loss", i, j)
		h.c.Network().Cut(h.c.Node(i).IP, h.c.Node(j).IP)
		h.c.Network().SetLoss(h.rng.Float64() * 0.3)
	}
}

// restart starts a node at the address of a dead one.
func (h *chaos) restart() {
	if len(h.dead) == 0 {
		return
	}
	k := h.rng.IntN(len(h.dead))
	i := h.dead[k]
	h.dead = slices.Delete(h.dead, k, k+1)
	j := h.c.Restart(i)
	h.note("restart %d as %d", i, j)
	h.alive = append(h.alive, j)
	h.consume(j)
}

// complain says what each node sees.
func (h *chaos) complain(t *testing.T) {
	t.Errorf("not one cluster of %v 15 s after the end of %v", h.alive, h.did)
	for _, i := range h.alive {
		n := h.c.Node(i)
		t.Logf("node %d, %v, is %v and sees:", i, n.Self(), n.State())
		for _, m := range n.Members() {
			t.Logf("  %v at %s: %v, linked %v", m, m.Addr, m.Status, m.Linked())
		}
	}
}
