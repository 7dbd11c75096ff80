package bus_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

var (
	simSeeds = flag.Int("sim.seeds", 20, "how many random runs TestSimulation makes")
	simSeed  = flag.Uint64("sim.seed", 0, "the only run to make, from 1")
)

// TestSimulation lets random senders, consumers, faults and leaves loose on a
// cluster, in virtual time, and checks the promises.
func TestSimulation(t *testing.T) {
	seen := sightings{}
	for _, faults := range []bool{false, true} {
		for seed := uint64(1); seed <= uint64(*simSeeds); seed++ {
			if *simSeed != 0 && seed != *simSeed {
				continue
			}
			t.Run(fmt.Sprintf("faults=%v/seed=%d", faults, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { newSim(t, seed, faults, seen).run() })
			})
			if t.Failed() {
				t.Fatalf("again with -run TestSimulation -sim.seed=%d", seed)
			}
		}
	}
	t.Logf("seen: %v", seen)
	if *simSeed != 0 || *simSeeds < 20 {
		return
	}
	for _, what := range rare {
		if seen[what] == 0 {
			t.Errorf("no run has seen: %s", what)
		}
	}
}

// sightings counts what is rare, so that it is known to be tested.
type sightings map[string]int

const (
	bouncedRequest    = "bounced request"
	bouncedToLeaver   = "message that came back to a bus that leaves"
	numberReused      = "number used again"
	skippedPublish    = "publish that skipped a consumer"
	supersededLink    = "superseded link"
	leaveUnlinked     = "leave while a link was broken"
	newcomerMeanwhile = "newcomer during a leave"
	twoLeave          = "leave during a leave"
)

var rare = []string{
	bouncedRequest, bouncedToLeaver, numberReused, skippedPublish,
	supersededLink, leaveUnlinked, newcomerMeanwhile, twoLeave,
}

const simAddresses = 3

type sim struct {
	t      *testing.T
	rng    *rand.Rand
	faults bool
	net    *simNet
	ledger *bustest.Ledger
	live   []int        // buses that have not left
	going  atomic.Int32 // buses that are leaving
	opened map[int]int  // consumers, by bus
	seen   sightings
	stop   chan struct{}
	wg     sync.WaitGroup

	consumers []*simConsumer

	requests, leavers atomic.Int64 // that came back
}

type simConsumer struct {
	c       *bus.Consumer
	at      int
	address string
}

// simMessage is what is sent: which one, and for which address.
type simMessage struct {
	bustest.Mark
	Address string
	Pad     string // to make it large
}

func newSim(t *testing.T, seed uint64, faults bool, seen sightings) *sim {
	s := &sim{t: t, rng: rand.New(rand.NewPCG(seed, 0)), faults: faults, stop: make(chan struct{}), opened: map[int]int{}, seen: seen}
	s.ledger = bustest.NewLedger()
	s.net = newSimNet(t)
	for range 3 {
		s.live = append(s.live, s.net.add())
	}
	s.delay()
	return s
}

func (s *sim) run() {
	for range 4 {
		s.open()
	}
	for g := range 12 {
		rng := rand.New(rand.NewPCG(s.rng.Uint64(), uint64(g)))
		s.wg.Go(func() { s.sender(g, rng) })
	}
	for range 80 {
		time.Sleep(time.Duration(s.rng.IntN(150)) * time.Millisecond)
		s.act()
	}
	close(s.stop)
	s.wg.Wait()
	time.Sleep(2 * time.Minute)
	s.rest()
}

// act does one random thing.
func (s *sim) act() {
	switch k := s.rng.IntN(10); {
	case k < 3:
		s.open()
	case k < 6:
		s.closeOne()
	case k == 6 && len(s.live) > 2:
		s.leave()
	case k == 7 && len(s.live) < 4:
		if s.going.Load() > 0 {
			s.seen[newcomerMeanwhile]++
		}
		s.live = append(s.live, s.net.add())
		s.delay()
	case k > 7 && s.faults:
		s.fault()
	}
}

// delay makes the links take their time, so that frames cross.
func (s *sim) delay() {
	rng := rand.New(rand.NewPCG(s.rng.Uint64(), 1))
	var mu sync.Mutex
	for _, i := range s.live {
		for _, j := range s.live {
			if i != j {
				s.net.end(i, j).SetDelay(func() time.Duration {
					mu.Lock()
					defer mu.Unlock()
					return time.Duration(rng.IntN(4000)) * time.Microsecond
				})
			}
		}
	}
}

func (s *sim) pick() int { return s.live[s.rng.IntN(len(s.live))] }

func (s *sim) open() {
	at, address := s.pick(), fmt.Sprint("a", s.rng.IntN(simAddresses))
	id := len(s.consumers)
	slow := time.Duration(s.rng.IntN(40)) * time.Millisecond
	c, err := s.net.bus(at).Consume(address, bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		return s.handle(id, m, slow)
	}), bus.WithWindow(1<<10<<s.rng.IntN(4)))
	if err != nil {
		s.t.Error(err)
		return
	}
	s.opened[at]++
	s.consumers = append(s.consumers, &simConsumer{c, at, address})
}

// closeOne closes a consumer that is not the last of its address.
func (s *sim) closeOne() {
	i := s.rng.IntN(len(s.consumers))
	if sc := s.consumers[i]; s.others(sc) > 0 {
		s.consumers[i].c.Close()
		s.consumers[i].at = -1
	}
}

func (s *sim) others(sc *simConsumer) (n int) {
	for _, o := range s.consumers {
		if o != sc && o.address == sc.address && slices.Contains(s.live, o.at) {
			n++
		}
	}
	return n
}

// leave closes a bus, once others have all its addresses.
func (s *sim) leave() {
	at := s.pick()
	for _, sc := range s.consumers {
		if sc.at != at {
			continue
		}
		other := &simConsumer{at: -1, address: sc.address}
		if s.others(other) == 0 || !s.elsewhere(sc) {
			return
		}
	}
	s.live = slices.DeleteFunc(s.live, func(i int) bool { return i == at })
	eb := s.net.bus(at)
	if s.going.Add(1) > 1 {
		s.seen[twoLeave]++
	}
	if len(eb.Peers()) < len(s.live) {
		s.seen[leaveUnlinked]++
	}
	s.wg.Go(func() {
		before := eb.Stats().Bounced
		if err := eb.Close(); err != nil && !s.faults {
			s.t.Errorf("n%d: %v", at, err)
		}
		s.leavers.Add(int64(eb.Stats().Bounced - before))
		s.going.Add(-1)
	})
}

// elsewhere reports whether another bus has a consumer of the address.
func (s *sim) elsewhere(sc *simConsumer) bool {
	return slices.ContainsFunc(s.consumers, func(o *simConsumer) bool {
		return o.address == sc.address && o.at != sc.at && slices.Contains(s.live, o.at)
	})
}

// fault breaks, stalls, silences or supersedes a link, and mends it later.
func (s *sim) fault() {
	i, j := s.pick(), s.pick()
	if i == j {
		return
	}
	kind, wait := s.rng.IntN(4), time.Duration(s.rng.IntN(3000))*time.Millisecond
	conn := s.net.end(i, j)
	if kind == 3 {
		s.seen[supersededLink]++
	}
	s.wg.Go(func() {
		switch kind {
		case 0:
			conn.Reset()
		case 1:
			conn.Stall()
		case 2:
			conn.Cut()
			wait += 6 * time.Second
		case 3:
			conn.supersede()
			wait += 2 * time.Second
		}
		time.Sleep(wait)
		if kind == 1 {
			conn.Resume()
			time.Sleep(6 * time.Second)
		}
		s.relink(i, j)
	})
}

func (s *sim) relink(i, j int) {
	for _, p := range s.net.bus(i).Peers() {
		if p.Boot == s.net.node(j).peer.Boot {
			return
		}
	}
	select {
	case <-s.net.bus(i).Done():
	case <-s.net.bus(j).Done():
	default:
		s.net.link(i, j)
	}
}

// sender sends from one bus after the other until the end.
func (s *sim) sender(id int, rng *rand.Rand) {
	at := id % 3
	for seq := uint64(1); ; seq++ {
		select {
		case <-s.stop:
			return
		case <-time.After(time.Duration(rng.IntN(30)) * time.Millisecond):
		}
		m := simMessage{Address: fmt.Sprint("a", rng.IntN(simAddresses))}
		m.Mark = bustest.Mark{Sender: fmt.Sprint(id), Seq: seq, Publish: rng.IntN(5) == 0}
		err := s.one(s.net.bus(at), m, rng)
		if errors.Is(err, bus.ErrClosed) {
			at = (at + 1) % 3
			id += 100 // another sender, in another order
		}
		if err != nil && !s.allowed(err) {
			s.t.Errorf("%+v: %v", m.Mark, err)
		}
	}
}

func (s *sim) allowed(err error) bool {
	return errors.Is(err, bus.ErrClosed) || errors.Is(err, bus.ErrNoConsumer) || errors.Is(err, bus.ErrBusy) && s.faults ||
		errors.Is(err, bus.ErrLinkLost) && s.faults || errors.Is(err, context.DeadlineExceeded) && s.faults
}

func (s *sim) one(eb *bus.EventBus, m simMessage, rng *rand.Rand) error {
	const limit = 20 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if rng.IntN(40) == 0 {
		m.Pad = strings.Repeat("x", rng.IntN(200<<10))
	}
	switch {
	case m.Publish:
		return eb.Publish(ctx, m.Address, m)
	case rng.IntN(2) == 0:
		err := eb.Send(ctx, m.Address, m)
		if err == nil {
			s.ledger.Accept(m.Mark)
		}
		return err
	}
	deadline := time.Now().Add(limit)
	got, err := bus.Request[simMessage](ctx, eb, m.Address, m)
	s.ledger.End(m.Mark, deadline, 100*time.Millisecond, err)
	if err != nil {
		return err
	}
	s.ledger.Answer(m.Mark, got.Mark)
	if got != m {
		s.t.Errorf("%+v came back changed", m.Mark)
	}
	return nil
}

// rest checks what must hold when nothing moves any more.
func (s *sim) rest() {
	var unknown, dead, bounced, sent uint64
	for i, n := range s.net.nodes {
		st := n.Stats()
		if st.Skipped > 0 {
			s.seen[skippedPublish]++
		}
		if bus.Numbers(n.EventBus) < s.opened[i] {
			s.seen[numberReused]++
		}
		if st.Sent != st.Settled+st.Bounced+st.Unknown {
			s.t.Errorf("n%d: %+v", i, st)
		}
		addUp(s.t, n.EventBus)
		unknown, dead = unknown+st.Unknown, dead+st.DeadLetters
		bounced, sent = bounced+st.Bounced, sent+st.Sent
	}
	s.t.Logf("%d sent, %d bounced, %d unknown, %d dead, %d buses of which %d are left", sent, bounced, unknown, dead, len(s.net.bus(s.live[0]).Peers())+1, len(s.live))
	if !s.faults && unknown+dead > 0 {
		s.t.Errorf("%d unknown and %d dead without a fault", unknown, dead)
	}
	if lost := s.ledger.Lost(); uint64(len(lost)) > unknown+dead {
		s.t.Errorf("%d messages lost, %d unknown, %d dead", len(lost), unknown, dead)
	}
	s.noGhosts()
	for _, text := range s.ledger.Broken() {
		s.t.Error(text)
	}
	s.seen[bouncedRequest] += int(s.requests.Load())
	s.seen[bouncedToLeaver] += int(s.leavers.Load())
	s.net.close()
}

// noGhosts checks that each address with a consumer answers, in turn, and no
// other does.
func (s *sim) noGhosts() {
	var seq uint64
	for _, i := range s.live {
		for _, j := range s.live {
			if i < j && s.faults {
				s.relink(i, j)
			}
		}
	}
	for a := range simAddresses {
		address := fmt.Sprint("a", a)
		n := s.others(&simConsumer{address: address})
		for _, i := range s.live {
			for k := range 2 * n {
				seq++
				m := simMessage{Mark: bustest.Mark{Sender: "at rest", Seq: seq}, Address: address}
				_, err := s.net.bus(i).Request(s.t.Context(), address, m)
				if err != nil {
					s.t.Errorf("n%d, %s, request %d with %d consumers: %v", i, address, k, n, err)
				}
			}
			if n == 0 {
				if _, err := s.net.bus(i).Request(s.t.Context(), address, nil); !errors.Is(err, bus.ErrNoConsumer) {
					s.t.Errorf("n%d, %s, without a consumer: %v", i, address, err)
				}
			}
		}
	}
}

// handle is what all consumers do: it takes its time and sends the message back.
func (s *sim) handle(consumer int, bm *bus.Message, slow time.Duration) error {
	var m simMessage
	if err := bm.Decode(&m); err != nil {
		return err
	}
	s.ledger.Handle(fmt.Sprint("c", consumer), m.Mark, bm)
	if bm.Rerouted() && bm.WantsReply() {
		s.requests.Add(1)
	}
	if bm.Address() != m.Address {
		s.t.Errorf("%+v at %s", m.Mark, bm.Address())
	}
	time.Sleep(slow)
	if bm.WantsReply() {
		return bm.Reply(context.Background(), m)
	}
	return nil
}
