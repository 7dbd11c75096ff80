package lease_test

import (
	"context"
	"errors"
	"fmt"
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

// reigns notes who runs, and wants never two.
type reigns struct {
	t  *testing.T
	mu sync.Mutex
	on int // which node; -1: none
	n  int
}

func (r *reigns) where() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.on
}

// at is a verticle that says where it runs.
func (r *reigns) at(node int) verticle.Verticle { return &ruler{r, node} }

type ruler struct {
	r    *reigns
	node int
}

func (v *ruler) Start(ctx context.Context, d *verticle.Deployment) error {
	v.r.mu.Lock()
	defer v.r.mu.Unlock()
	if v.r.on >= 0 {
		v.r.t.Errorf("node %d starts while node %d runs", v.node, v.r.on)
	}
	if v.r.n++; lease.Fence(ctx) < uint64(v.r.n) {
		v.r.t.Errorf("fence %d for start %d", lease.Fence(ctx), v.r.n)
	}
	v.r.on = v.node
	_, err := d.Consume("where", bus.Respond(func(context.Context, struct{}) (int, error) { return v.node, nil }))
	return err
}

func (v *ruler) Stop(context.Context) error {
	v.r.mu.Lock()
	defer v.r.mu.Unlock()
	v.r.on = -1
	return nil
}

type world struct {
	*reigns
	c      *bustest.Cluster
	stores []*leasetest.Store
	ds     []*verticle.Deployment
}

func singletons(t *testing.T, n int, opts func(node int) []lease.Option, f func(t *testing.T, w *world)) {
	t.Helper()
	nodes(t, n, func(t *testing.T, _ *lease.Memory, s []*leasetest.Store) {
		w := &world{&reigns{t: t, on: -1}, bustest.NewCluster(t, n, bus.WithLogger(quiet)), s, nil}
		for i := range n {
			var o []lease.Option
			if opts != nil {
				o = opts(i)
			}
			d, err := verticle.Deploy(t.Context(), w.c.Bus(i), lease.Singleton(s[i], "it", w.at(i), o...), verticle.WithLogger(quiet))
			if err != nil {
				t.Fatal(err)
			}
			w.ds = append(w.ds, d)
			synctest.Wait()
		}
		time.Sleep(time.Second)
		f(t, w)
		for _, d := range w.ds {
			if err := d.Undeploy(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// await waits for another ruler than that one, and returns how long it took.
func (w *world) await(not int) time.Duration {
	began := time.Now()
	for time.Since(began) < time.Minute {
		if at := w.where(); at >= 0 && at != not {
			return time.Since(began)
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Fatal("nobody came")
	return 0
}

func TestSingletonHandOver(t *testing.T) {
	singletons(t, 3, nil, func(t *testing.T, w *world) {
		for range 2 {
			at := w.where()
			if err := w.ds[at].Undeploy(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := w.await(at); took >= time.Second {
				t.Errorf("the next one ran %v after the last was undeployed; want less than a second", took)
			}
			time.Sleep(10 * time.Millisecond) // its consumers are to be known
			got, err := bus.Request[int](t.Context(), w.c.Bus(at), "where", nil)
			if err != nil || got != w.where() {
				t.Errorf("asking where it runs: %d, %v", got, err)
			}
		}
	})
}

// A node that vanishes does so with its store and its links.
func TestSingletonCrash(t *testing.T) {
	singletons(t, 3, nil, func(t *testing.T, w *world) {
		at := w.where()
		w.stores[at].SetAway(true)
		w.mu.Lock()
		w.on = -1 // it is gone
		w.mu.Unlock()
		for i := range 3 {
			if i != at {
				w.c.Conn(at, i).Close()
			}
		}
		if took := w.await(at); took > ttl+time.Second {
			t.Errorf("the next one ran %v after the crash; want the ttl and a second", took)
		}
		w.stores[at].SetAway(false)
	})
}

// A holder that cannot reach the store any more stops before another starts, and
// is among the standbys again.
func TestSingletonLosesStore(t *testing.T) {
	singletons(t, 2, nil, func(t *testing.T, w *world) {
		for range 3 {
			at := w.where()
			w.stores[at].SetAway(true)
			if took := w.await(at); took > 2*ttl+time.Second {
				t.Errorf("the next one ran %v after the store was away", took)
			}
			w.stores[at].SetAway(false)
			time.Sleep(ttl)
		}
	})
}

// A call that is made between two holders waits for the next one.
func TestAwait(t *testing.T) {
	singletons(t, 2, nil, func(t *testing.T, w *world) {
		at := w.where()
		w.stores[1-at].SetAway(true) // the next one cannot take over yet
		if err := w.ds[at].Undeploy(t.Context()); err != nil {
			t.Fatal(err)
		}
		ask := func(ctx context.Context) error {
			_, err := bus.Request[int](ctx, w.c.Bus(at), "where", nil)
			return err
		}
		if err := ask(t.Context()); !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("a call between two holders returned %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := lease.Await(short, func() error { return ask(short) }); !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("a call that waits for too short a time returned %v", err)
		}
		w.stores[1-at].SetAway(false)
		if err := lease.Await(t.Context(), func() error { return ask(t.Context()) }); err != nil {
			t.Errorf("a call that waits returned %v", err)
		}
	})
}

// In a rolling deployment the singleton moves once: to the newest revision.
func TestSingletonRevision(t *testing.T) {
	revisions := []string{"9", "9", "9", "10"}
	singletons(t, 4, func(node int) []lease.Option {
		return []lease.Option{lease.WithRevision(revisions[node])}
	}, func(t *testing.T, w *world) {
		at := w.where()
		if at != 0 {
			t.Fatalf("node %d runs it; want the first", at)
		}
		if err := w.ds[at].Undeploy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := w.await(at); took > time.Second || w.where() != 3 {
			t.Errorf("after %v node %d runs it; want the one of the newest revision, within a second", took, w.where())
		}
	})
}

func TestSingletonCost(t *testing.T) {
	singletons(t, 2, nil, func(t *testing.T, w *world) {
		holder, standby := w.stores[w.where()], w.stores[1-w.where()]
		h, s := holder.Counts(), standby.Counts()
		time.Sleep(100 * ttl)
		if n := holder.Counts().Puts - h.Puts; n > 301 {
			t.Errorf("the holder wrote %d times in 100 ttl", n)
		}
		if n := standby.Counts().Gets - s.Gets; n > 101 || standby.Counts().Puts != s.Puts {
			t.Errorf("the standby read %d times in 100 ttl, and wrote %d times", n, standby.Counts().Puts-s.Puts)
		}
	})
}

// What fails in the verticle fails the singleton, and another takes over.
func TestSingletonFails(t *testing.T) {
	nodes(t, 1, func(t *testing.T, m *lease.Memory, s []*leasetest.Store) {
		eb := bustest.NewBus(t, bus.WithLogger(quiet))
		broken := errors.New("broken")
		for _, v := range []verticle.Verticle{
			verticle.Func(func(context.Context, *verticle.Deployment) error { return broken }),
			verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
				d.Go(func(context.Context) error { return broken })
				return nil
			}),
		} {
			d, err := verticle.Deploy(t.Context(), eb, lease.Singleton(s[0], "it", v), verticle.WithLogger(quiet))
			if err != nil {
				t.Fatal(err)
			}
			<-d.Done()
			if !errors.Is(d.Err(), broken) {
				t.Errorf("it ended with %v", d.Err())
			}
			release(t, acquire(t, newLock(t, m))) // at once
		}
	})
}

func TestSingletonBadInput(t *testing.T) {
	t.Parallel()
	eb := bustest.NewBus(t, bus.WithLogger(quiet))
	for _, v := range []verticle.Verticle{
		lease.Singleton(nil, "x", verticle.Func(nil)),
		lease.Singleton(new(lease.Memory), "", verticle.Func(nil)),
		lease.Singleton(new(lease.Memory), "x", nil),
	} {
		if d, err := verticle.Deploy(t.Context(), eb, v, verticle.WithLogger(quiet)); err == nil {
			t.Errorf("%v was deployed", fmt.Sprint(d.ID()))
		}
	}
}
