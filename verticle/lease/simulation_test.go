package lease_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/verticle"
	"github.com/runrig-go/runrig/verticle/lease"
	"github.com/runrig-go/runrig/verticle/lease/leasetest"
)

var seeds = flag.Int("lease.seeds", 20, "how many seeds TestSimulation takes; the long form takes 1000")

// A sim is a few nodes whose clocks run at different speeds, with a singleton, for
// ten minutes in which they are cut off from the store, from each other, and from
// both, and leave and come back. It wants never two to run whose contexts are alive,
// never a write accepted after one with a higher fence, and a singleton again within
// the ttl and a second, whoever can reach the store.
type sim struct {
	t      *testing.T
	rnd    *rand.Rand
	c      *bustest.Cluster
	stores []*leasetest.Store
	speeds []float64
	ds     []*verticle.Deployment // nil: it is not deployed

	mu      sync.Mutex
	away    []bool      // from the store
	back    []time.Time // since when it is not
	running map[int]context.Context
	fence   uint64 // the highest that was written with
	by      map[uint64]int
	moves   int
}

func TestSimulation(t *testing.T) {
	t.Parallel()
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { simulate(t, uint64(seed)) })
		})
	}
}

func simulate(t *testing.T, seed uint64) {
	s := &sim{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), running: map[int]context.Context{}, by: map[uint64]int{}}
	n := 2 + s.rnd.IntN(3)
	s.c = bustest.NewCluster(t, n, bus.WithLogger(quiet))
	m := new(lease.Memory)
	for i := range n {
		s.stores = append(s.stores, leasetest.NewStore(m))
		s.speeds = append(s.speeds, 0.93+0.14*s.rnd.Float64())
		s.ds = append(s.ds, nil)
		s.away = append(s.away, false)
		s.back = append(s.back, time.Now())
		s.deploy(i)
	}
	for range 60 {
		s.fault()
		s.watch(time.Duration(s.rnd.Int64N(int64(20 * time.Second))))
	}
	for i, d := range s.ds {
		s.setAway(i, false)
		if d != nil {
			_ = d.Undeploy(t.Context())
		}
	}
	time.Sleep(time.Minute) // a release that the store did not answer may outlast its undeployment
	if s.moves == 0 || s.fence == 0 {
		t.Error("it never ran")
	}
}

func (s *sim) deploy(i int) {
	v := lease.Singleton(s.stores[i], "it", &simRuler{s: s, node: i}, lease.WithClockSpeed(s.speeds[i]))
	d, err := verticle.Deploy(s.t.Context(), s.c.Bus(i), v, verticle.WithLogger(quiet))
	if err != nil {
		s.t.Fatal(err)
	}
	s.ds[i] = d
}

func (s *sim) setAway(i int, away bool) {
	s.stores[i].SetAway(away)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away[i] && !away {
		s.back[i] = time.Now()
	}
	s.away[i] = away
}

// fault does something to somebody, or mends it.
func (s *sim) fault() {
	i, j := s.rnd.IntN(len(s.ds)), s.rnd.IntN(len(s.ds))
	if s.rnd.IntN(2) == 0 { // who runs it
		if at, _ := s.runner(); at >= 0 {
			i = at
		}
	}
	switch s.rnd.IntN(8) {
	case 0, 1:
		s.setAway(i, true)
	case 2, 3:
		for k := range s.away {
			s.setAway(k, false)
		}
	case 4:
		if i != j {
			s.c.Break(i, j)
		}
	case 5:
		if i != j {
			s.c.Break(i, j)
			s.c.Link(i, j)
		}
	case 6:
		if s.ds[i] != nil {
			_ = s.ds[i].Undeploy(s.t.Context())
			s.ds[i] = nil
		} else {
			s.deploy(i)
		}
	case 7:
		s.stores[i].LoseReplies(1 + s.rnd.IntN(3))
	}
}

// watch looks every tenth of a second, for d, whether all is as it must be.
func (s *sim) watch(d time.Duration) {
	var nobody time.Duration
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		synctest.Wait()
		at, n := s.runner()
		if n > 1 {
			s.t.Fatalf("%d run at once: %v", n, s.running)
		}
		if at >= 0 || !s.reachable() {
			nobody = 0
			continue
		}
		if nobody += 100 * time.Millisecond; nobody > ttl*108/100+time.Second {
			s.t.Fatalf("nobody has run for %v, though the store is there for some", nobody)
		}
	}
}

// runner returns who runs, by live contexts, and how many do.
func (s *sim) runner() (at, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at = -1
	for i, ctx := range s.running {
		if ctx.Err() == nil {
			at, n = i, n+1
		}
	}
	return at, n
}

// reachable reports whether the store is there for some node, which has noticed:
// a call that was begun while the store was away takes a quarter of the ttl to fail,
// and a twentieth later there is the next.
func (s *sim) reachable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, away := range s.away {
		if !away && s.ds[i] != nil && time.Since(s.back[i]) > ttl*33/100 {
			return true
		}
	}
	return false
}

// write is what a fenced resource does with a write.
func (s *sim) write(node int, fence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fence < s.fence {
		s.t.Errorf("node %d writes with fence %d after %d, without having been stopped", node, fence, s.fence)
	}
	if by, ok := s.by[fence]; ok && by != node {
		s.t.Errorf("fence %d is that of nodes %d and %d", fence, by, node)
	}
	s.fence, s.by[fence] = max(s.fence, fence), node
}

// A simRuler writes to the resource all the time that it runs.
type simRuler struct {
	s    *sim
	node int
}

func (v *simRuler) Start(ctx context.Context, d *verticle.Deployment) error {
	fence := lease.Fence(ctx)
	d.Go(func(ctx context.Context) error {
		v.s.mu.Lock()
		v.s.running[v.node] = ctx
		v.s.moves++
		v.s.mu.Unlock()
		for ctx.Err() == nil {
			v.s.write(v.node, fence)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		return nil
	})
	return nil
}

func (v *simRuler) Stop(context.Context) error { return nil }
