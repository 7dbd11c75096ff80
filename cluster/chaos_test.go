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
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
)

var (
	chaosSeeds = flag.Int("chaos", 6, "seeds of TestChaos, for each size of a cluster")
	chaosFirst = flag.Uint64("chaos.first", 1, "the first of them")
	chaosSize  = flag.Int("chaos.size", 0, "the only size of a cluster; 0: 3, 5 and 10")
)

// Whatever happens to a cluster, each request ends once, with a reply that is its
// own or a typed error, by its deadline; nothing is handled twice or out of order,
// and what is lost is accounted for. And when it is over, those who live are linked
// with each other, and with nobody else, within 15 s, and nobody knows a consumer
// that is gone.
func TestChaos(t *testing.T) {
	t.Parallel()
	sizes := []int{3, 5, 10}
	if *chaosSize != 0 {
		sizes = []int{*chaosSize}
	}
	seeds := *chaosSeeds
	if racing {
		seeds = max(1, seeds/3)
	}
	seen := new(sightings)
	began := time.Now()
	t.Run("seeds", func(t *testing.T) {
		for _, size := range sizes {
			for i := range seeds {
				seed := *chaosFirst + uint64(i)
				t.Run(fmt.Sprintf("%d/%d", size, seed), func(t *testing.T) {
					t.Parallel()
					runChaos(t, size, seed, seen)
				})
			}
		}
	})
	t.Logf("%d runs in %v; %v", len(sizes)*seeds, time.Since(began).Round(time.Second), seen)
	if seeds >= 6 && *chaosSize == 0 && !t.Failed() {
		seen.check(t, seeds)
	}
}

func runChaos(t *testing.T, size int, seed uint64, seen *sightings) {
	h := &chaos{size: size, rng: rand.New(rand.NewPCG(seed, 99)), ledger: bustest.NewLedger(), seen: seen}
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
		for range 20 {
			h.step()
			time.Sleep(time.Duration(h.rng.IntN(10000)) * time.Millisecond)
		}
		h.end()
	}, opts...)
}

// chaos does things to a cluster.
type chaos struct {
	t      *testing.T
	c      *clustertest.Cluster
	size   int
	ledger *bustest.Ledger
	seen   *sightings
	rng    *rand.Rand
	alive  []int
	dead   []int
	did    []string
	mood   atomic.Int32 // of discovery
	moody  bool         // it has not always told the truth

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

// configure gives nodes a secret and a discovery with moods; in clusters of 3 and 5
// all nodes have the same name.
func (h *chaos) configure(_ int, c *cluster.Config) {
	c.Insecure, c.Secrets = false, cluster.NewSecrets(secret)
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
		_, err := h.c.Node(i).Bus.Consume(address, bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
			var k bustest.Mark
			if err := m.Decode(&k); err != nil {
				return err
			}
			h.ledger.Handle(fmt.Sprint("node ", i, " ", address), k, m)
			if m.Rerouted() {
				h.seen.rerouted.Add(1)
			}
			time.Sleep(time.Duration(k.Seq%20) * time.Millisecond)
			if m.WantsReply() {
				return m.Reply(context.Background(), k)
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
			case <-time.After(time.Duration(rng.IntN(1000)) * time.Millisecond):
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
		var got bustest.Mark
		if got, err = bus.Request[bustest.Mark](ctx, eb, "echo", k); err == nil {
			h.ledger.Answer(k, got)
		}
	} else if err = eb.Send(ctx, "echo", k); err == nil {
		h.ledger.Accept(k)
	}
	h.ledger.End(k, deadline, 100*time.Millisecond, err)
	return err
}

// end heals everything and checks what must hold then.
func (h *chaos) end() {
	h.mood.Store(tells)
	h.c.Heal()
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
			_, err := bus.Request[bustest.Mark](h.t.Context(), h.c.Node(i).Bus, only(j), mark)
			if lives := slices.Contains(h.alive, j); lives && err != nil || !lives && !errors.Is(err, bus.ErrNoConsumer) {
				h.t.Errorf("node %d asks node %d, which lives: %v: %v", i, j, lives, err)
			}
		}
	}
}

func (h *chaos) note(format string, args ...any) { h.did = append(h.did, fmt.Sprintf(format, args...)) }

// pick takes a living node.
func (h *chaos) pick() int { return h.alive[h.rng.IntN(len(h.alive))] }

// lose takes a node from the living, if enough are left.
func (h *chaos) lose(what string, f func(int)) {
	if len(h.alive) <= 2 {
		return
	}
	i := h.pick()
	h.alive = slices.DeleteFunc(h.alive, func(j int) bool { return j == i })
	h.dead = append(h.dead, i)
	h.note("%s %d", what, i)
	f(i)
}

// calm ends what is done to packets and delays.
func (h *chaos) calm() {
	n := h.c.Network()
	n.SetLoss(0)
	n.SetDuplicates(0)
	n.SetDelay(func(r *rand.Rand) time.Duration { return time.Duration(200+r.IntN(1800)) * time.Microsecond })
}

func (h *chaos) step() {
	switch h.rng.IntN(14) {
	case 0:
		h.lose("kill", h.c.Kill)
	case 1:
		h.lose("power off", h.c.PowerOff)
	case 2:
		h.lose("close", func(i int) { _ = h.c.Node(i).Close() })
	case 3:
		if len(h.alive) < 2*h.size {
			i := h.c.Start()
			h.note("start %d", i)
			h.alive = append(h.alive, i)
			h.settle(i)
		}
	case 4, 5:
		h.restart()
	case 6:
		i := h.pick()
		h.note("silence %d", i)
		h.c.Silence(i)
	case 7:
		cut := h.alive[:1+h.rng.IntN(len(h.alive)-1)]
		h.note("partition %v", cut)
		h.c.Partition(cut)
	case 8:
		h.note("heal")
		h.c.Heal()
	case 9:
		i, j := h.pick(), h.pick()
		h.note("reset %d-%d", i, j)
		h.c.Reset(i, j)
	case 10:
		i, j := h.pick(), h.pick()
		h.note("cut %d-%d", i, j)
		h.c.Network().Cut(h.c.Node(i).IP, h.c.Node(j).IP)
	case 11:
		i, j := h.pick(), h.pick()
		if i != j {
			h.note("block %d-%d", i, j)
			h.c.Block(i, j)
		}
	case 12:
		h.packets()
	case 13:
		h.mood.Store(h.rng.Int32N(moods))
		h.moody = true
		h.note("discovery %d", h.mood.Load())
	}
}

// packets are lost, doubled or late, or not any more.
func (h *chaos) packets() {
	n := h.c.Network()
	switch h.rng.IntN(4) {
	case 0:
		h.note("loss")
		n.SetLoss(h.rng.Float64() * 0.3)
	case 1:
		h.note("duplicates")
		n.SetDuplicates(h.rng.Float64() * 0.5)
	case 2:
		h.note("late")
		most := 1 + h.rng.IntN(100)
		n.SetDelay(func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(most*1000)) * time.Microsecond })
	case 3:
		h.note("calm")
		h.calm()
	}
}

// restart starts a node at the address of a dead one, once discovery can tell.
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
	h.settle(j)
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

// sightings count, over all runs, what must be seen sometimes for the test to be
// worth anything.
type sightings struct {
	requests, rerouted, replied                   atomic.Int64
	linkLost, noConsumer, busy, closed, deadlines atomic.Int64
	slowest                                       atomic.Int64 // heal
}

// took counts how a call ended, and reports whether it may end so.
func (s *sightings) took(err error) bool {
	for _, c := range []struct {
		is    error
		count *atomic.Int64
	}{
		{bus.ErrLinkLost, &s.linkLost}, {bus.ErrNoConsumer, &s.noConsumer}, {bus.ErrBusy, &s.busy},
		{bus.ErrClosed, &s.closed}, {context.DeadlineExceeded, &s.deadlines},
	} {
		if errors.Is(err, c.is) {
			c.count.Add(1)
			return true
		}
	}
	s.replied.Add(1)
	return err == nil
}

func (s *sightings) heal(d time.Duration) {
	for old := s.slowest.Load(); int64(d) > old && !s.slowest.CompareAndSwap(old, int64(d)); old = s.slowest.Load() {
	}
}

func (s *sightings) String() string {
	return fmt.Sprintf("%d requests, %d calls went well, %d messages came back and were routed again, failed: link lost %d, no consumer %d, busy %d, closed %d, deadline %d; slowest heal %v",
		s.requests.Load(), s.replied.Load(), s.rerouted.Load(), s.linkLost.Load(), s.noConsumer.Load(), s.busy.Load(), s.closed.Load(), s.deadlines.Load(), time.Duration(s.slowest.Load()))
}

// check fails if something was never seen that so many seeds must show.
func (s *sightings) check(t *testing.T, seeds int) {
	for _, c := range []struct {
		what  string
		count *atomic.Int64
		seeds int
	}{
		{"a reply", &s.replied, 1}, {"a lost link", &s.linkLost, 6}, {"no consumer", &s.noConsumer, 6},
		{"a closed bus", &s.closed, 6}, {"a deadline", &s.deadlines, 6}, {"a message that came back", &s.rerouted, 60},
	} {
		if c.count.Load() == 0 && seeds >= c.seeds {
			t.Errorf("never seen: %s", c.what)
		}
	}
}
