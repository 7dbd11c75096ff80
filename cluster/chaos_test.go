package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
)

var (
	chaosSeeds = flag.Int("chaos", 0, "seeds of TestChaos, for each size of a cluster; 0: 20, 200 with -figures, a tenth in the short form")
	chaosFirst = flag.Uint64("chaos.first", 1, "the first of them")
	chaosSize  = flag.Int("chaos.size", 0, "the only size of a cluster; 0: 3, 5 and 10, and 50 for a few seeds")
)

// seedsOf returns how many seeds TestChaos runs clusters of each size with.
func seedsOf() map[int]int {
	n := *chaosSeeds
	if n == 0 {
		n = 20
		if figures {
			n = 200
		}
		if racing || testing.Short() {
			n /= 10
		}
	}
	if *chaosSize != 0 {
		return map[int]int{*chaosSize: n}
	}
	return map[int]int{3: n, 5: n, 10: n, 50: n / 100}
}

// Whatever happens to a cluster, each request ends once, with a reply that is its
// own or a typed error, by its deadline; nothing is handled twice or out of order,
// and what is lost is accounted for. And when it is over, those who live are linked
// with each other, and with nobody else, within 15 s, and nobody knows a consumer
// that is gone.
//
// Each run is two to three minutes of virtual time, in which something happens
// every five seconds. A run that fails tells how to run its seed again.
func TestChaos(t *testing.T) {
	t.Parallel()
	seen := &sightings{counts: map[string]int{}}
	began, runs := time.Now(), 0
	t.Run("seeds", func(t *testing.T) {
		for size, seeds := range seedsOf() {
			for i := range seeds {
				seed := *chaosFirst + uint64(i)
				runs++
				t.Run(fmt.Sprintf("%d/%d", size, seed), func(t *testing.T) {
					t.Parallel()
					runChaos(t, size, seed, seen)
				})
			}
		}
	})
	t.Logf("%d runs in %v\n%v", runs, time.Since(began).Round(time.Second), seen)
	if !t.Failed() && *chaosSize == 0 {
		seen.check(t, runs)
	}
}

func runChaos(t *testing.T, size int, seed uint64, seen *sightings) {
	h := &chaos{size: size, secured: seed%8 == 0, rng: rand.New(rand.NewPCG(seed, 99)), ledger: bustest.NewLedger(), seen: seen}
	if h.secured {
		seen.add("a secret", 1)
	}
	if h.size%2 == 1 {
		seen.add("a name for all", 1)
	}
	opts := []clustertest.Option{clustertest.WithSeed(seed), clustertest.WithConfig(h.configure)}
	clustertest.Run(t, size, func(t *testing.T, c *clustertest.Cluster) {
		defer func() {
			if t.Failed() {
				t.Logf("%v; again with -run TestChaos -chaos 1 -chaos.size %d -chaos.first %d", h.did, size, seed)
			}
		}()
		h.t, h.c, h.stop = t, c, make(chan struct{}) // of this bubble
		for i := range size {
			h.alive = append(h.alive, i)
			h.settle(i)
		}
		began := time.Now()
		for range 22 {
			h.step()
			time.Sleep(time.Duration(h.rng.IntN(10000)) * time.Millisecond)
		}
		h.end()
		seen.add("virtual seconds", int(time.Since(began)/time.Second))
	}, opts...)
}

// chaos does things to a cluster.
type chaos struct {
	t       *testing.T
	c       *clustertest.Cluster
	size    int
	secured bool
	ledger  *bustest.Ledger
	seen    *sightings
	rng     *rand.Rand
	alive   []int
	dead    []int
	did     []string
	mood    atomic.Int32 // of discovery
	moody   bool         // it has not always told the truth

	stop  chan struct{}
	calls sync.WaitGroup
}

// Moods of discovery.
const (
	tells = iota
	fails
	tellsNothing
	lies
	moods
)

// configure gives nodes a discovery with moods, and a secret in each eighth run, as
// half of the time goes into TLS then; in clusters of 3 and 5 all nodes have
// the same name.
func (h *chaos) configure(_ int, c *cluster.Config) {
	if h.secured {
		c.Insecure, c.Secrets = false, cluster.NewSecrets(secret)
	}
	if h.size%2 == 1 {
		c.Name = "same"
	}
	honest := c.Discovery
	c.Discovery = discovery.ProviderFunc(func(ctx context.Context) ([]string, error) {
		switch h.mood.Load() {
		case fails:
			return nil, errors.New("discovery fails")
		case tellsNothing:
			return nil, nil
		case lies:
			return []string{"10.0.99.1:7946", "10.0.99.2:1"}, nil
		}
		return honest.Peers(ctx)
	})
}

// settle has a node consume and send.
func (h *chaos) settle(i int) {
	for _, address := range []string{"echo", only(i)} {
		name := fmt.Sprint("node ", i, " ", address)
		_, err := h.c.Node(i).Bus.Consume(address, bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
			k, err := parseMark(m.Body)
			if err != nil {
				return err
			}
			h.ledger.Handle(name, k, m)
			if m.Rerouted() {
				h.seen.add("message routed again", 1)
			}
			time.Sleep(time.Duration(k.Seq%20) * time.Millisecond)
			if m.WantsReply() {
				return m.Reply(context.Background(), m.Body)
			}
			return nil
		}))
		if err != nil {
			h.t.Error(err)
		}
	}
	eb := h.c.Node(i).Bus
	for s := range 2 + 6/h.size {
		rng := rand.New(rand.NewPCG(h.rng.Uint64(), uint64(s)))
		h.calls.Go(func() { h.sender(eb, fmt.Sprint(i, " ", s), rng) })
	}
}

// bodyOf writes a mark; JSON would be a tenth of the time.
func bodyOf(k bustest.Mark) []byte {
	return strconv.AppendUint(append([]byte(k.Sender), ' '), k.Seq, 10)
}

func parseMark(b []byte) (k bustest.Mark, err error) {
	i := bytes.LastIndexByte(b, ' ')
	if i < 0 {
		return k, fmt.Errorf("not a mark: %q", b)
	}
	k.Sender = string(b[:i])
	k.Seq, err = strconv.ParseUint(string(b[i+1:]), 10, 64)
	return k, err
}

// only is the address of which a node has the only consumer.
func only(i int) string { return fmt.Sprint("only ", i) }

// sender sends and requests, one after the other, now and then many without a
// pause, until the end.
func (h *chaos) sender(eb *bus.EventBus, name string, rng *rand.Rand) {
	burst := 0
	for seq := uint64(1); ; seq++ {
		if burst--; burst <= 0 {
			select {
			case <-h.stop:
				return
			case <-time.After(time.Duration(rng.IntN(1350)) * time.Millisecond):
			}
			if rng.IntN(60) == 0 {
				burst = 30
			}
		}
		k := bustest.Mark{Sender: name, Seq: seq}
		err := h.call(eb, k, burst <= 0 && rng.IntN(4) > 0)
		if !h.seen.took(err) {
			h.t.Errorf("a call failed with %v", err)
		}
		if errors.Is(err, bus.ErrClosed) {
			return
		}
	}
}

// call requests or sends, and judges how it ends.
func (h *chaos) call(eb *bus.EventBus, k bustest.Mark, ask bool) (err error) {
	const limit = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	deadline := time.Now().Add(limit)
	if ask {
		h.seen.requests.Add(1)
		var reply *bus.Message
		if reply, err = eb.Request(ctx, "echo", bodyOf(k)); err == nil {
			got, _ := parseMark(reply.Body) // one that cannot be read is another
			h.ledger.Answer(k, got)
		}
	} else if err = eb.Send(ctx, "echo", bodyOf(k)); err == nil {
		h.ledger.Accept(k)
	}
	h.ledger.End(k, deadline, 100*time.Millisecond, err)
	return err
}

// end heals everything and checks what must hold then.
func (h *chaos) end() {
	h.mood.Store(tells)
	h.c.Heal()
	for _, i := range h.alive {
		h.c.Resume(i)
	}
	h.calm()
	began, limit := time.Now(), 15*time.Second
	if h.moody { // who was told of nobody is alone, and asks each 30 s at most
		limit = time.Minute
	}
	time.Sleep(5 * time.Second) // by then a link that was cut is known to be
	for !h.c.Linked(h.alive...) {
		if time.Since(began) > limit {
			h.complain(limit)
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !h.moody {
		h.seen.heal(time.Since(began))
	}
	close(h.stop)
	h.calls.Wait()
	h.noGhosts()
	time.Sleep(3 * time.Second) // for the last sends
	var unaccounted uint64
	for i := range h.c.Len() {
		s := h.c.Node(i).Bus.Stats()
		h.seen.stats(s, h.c.Node(i).Stats())
		unaccounted += s.Unknown + s.DeadLetters + s.Expired
		if slices.Contains(h.alive, i) && s.Sent != s.Settled+s.Bounced+s.Unknown {
			h.t.Errorf("the accounts of node %d do not add up: %+v", i, s)
		}
	}
	if lost := h.ledger.Lost(); uint64(len(lost)) > unaccounted {
		h.t.Errorf("%d lost, %d of them accounted for", len(lost), unaccounted)
	}
	for _, text := range h.ledger.Broken() {
		h.t.Error(text)
	}
}

// noGhosts checks that each node knows the consumers of those who live, and of
// nobody else.
func (h *chaos) noGhosts() {
	for k, i := range h.alive {
		for j := range h.c.Len() {
			mark := bustest.Mark{Sender: fmt.Sprint("end ", i), Seq: uint64(k*1000 + j + 1)}
			_, err := h.c.Node(i).Bus.Request(h.t.Context(), only(j), bodyOf(mark))
			if lives := slices.Contains(h.alive, j); lives && err != nil || !lives && !errors.Is(err, bus.ErrNoConsumer) {
				h.t.Errorf("node %d asks node %d, which lives: %v: %v", i, j, lives, err)
			}
		}
	}
}

// complain says what each node sees.
func (h *chaos) complain(limit time.Duration) {
	h.t.Errorf("not one cluster of %v after %v", h.alive, limit)
	for _, i := range h.alive {
		n := h.c.Node(i)
		h.t.Logf("node %d, %v, is %v and sees:", i, n.Self(), n.State())
		for _, m := range n.Members() {
			h.t.Logf("  %v at %s: %v, linked %v", m, m.Addr, m.Status, m.Linked())
		}
	}
}
