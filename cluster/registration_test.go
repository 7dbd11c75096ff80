package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
)

// A registry is a list that nodes keep themselves.
type registry struct {
	mu      sync.Mutex
	entries map[string]discovery.Registration // by ID
	down    error
	changed map[*registered]func()
}

func newRegistry() *registry {
	return &registry{entries: map[string]discovery.Registration{}, changed: map[*registered]func(){}}
}

func (r *registry) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	for _, changed := range r.changed {
		changed()
	}
}

func (r *registry) has() (addrs []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for e := range maps.Values(r.entries) {
		addrs = append(addrs, e.Addr)
	}
	slices.Sort(addrs)
	return addrs
}

// registered is one node's provider.
type registered struct {
	*registry
	closed int
	asked  int
}

func (p *registered) Peers(ctx context.Context) ([]string, error) {
	p.mu.Lock()
	p.asked++
	err := p.down
	if of := discovery.ClusterOf(ctx); of != "blue" {
		err = fmt.Errorf("asked for cluster %q", of)
	}
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return p.has(), nil
}

func (p *registered) Register(ctx context.Context, r discovery.Registration) (err error) {
	p.set(func() {
		if err = p.down; err == nil {
			p.entries[r.ID] = r
		}
	})
	return err
}

func (p *registered) Deregister(ctx context.Context, r discovery.Registration) error {
	p.set(func() { delete(p.entries, r.ID) })
	return nil
}

func (p *registered) Watch(ctx context.Context, changed func()) error {
	p.mu.Lock()
	p.changed[p] = changed
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.changed, p)
	return ctx.Err()
}

func (p *registered) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed++
	return nil
}

// inRegistry makes nodes find each other by a registry alone.
func inRegistry(t *testing.T, n int, list *registry, log *slog.Logger) (*clustertest.Cluster, []*registered) {
	var all []*registered
	c := clustertest.New(t, n, clustertest.WithConfig(func(_ int, conf *cluster.Config) {
		p := &registered{registry: list}
		all = append(all, p)
		conf.Cluster, conf.Discovery, conf.Logger = "blue", discovery.LastGood(p, log), log
	}))
	return c, all
}

// Nodes keep their entries in a registry for as long as they live: they enter them when
// they listen, again when they were forgotten, and take them out when they leave.
func TestRegistrar(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := newRegistry()
		c, providers := inRegistry(t, 3, list, slog.New(slog.DiscardHandler))
		want := []string{"10.0.0.1:7946", "10.0.0.2:7946", "10.0.0.3:7946"}
		if got := list.has(); !slices.Equal(got, want) {
			t.Fatalf("the registry has %q; want %q", got, want)
		}
		self := c.Node(1).Self()
		list.mu.Lock()
		r := list.entries[self.String()]
		list.mu.Unlock()
		if r.Cluster != "blue" || r.Name != self.Name || r.Addr != self.Addr {
			t.Errorf("registered as %+v", r)
		}
		list.set(func() { clear(list.entries) })
		time.Sleep(discovery.Heartbeat * 6 / 5)
		if got := list.has(); !slices.Equal(got, want) {
			t.Errorf("the registry that had forgotten all has %q; want %q", got, want)
		}
		_ = c.Node(1).Close()
		if got := list.has(); !slices.Equal(got, []string{want[0], want[2]}) || providers[1].closed != 1 {
			t.Errorf("the registry has %q when a node has left, whose provider was closed %d times", got, providers[1].closed)
		}
	})
}

// A registry that is down ends no node, which says so once and is entered when it can be.
func TestRegistryIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := newRegistry()
		list.down = errors.New("registry on fire")
		j := new(journal)
		c, _ := inRegistry(t, 1, list, slog.New(slog.NewTextHandler(j, nil)))
		time.Sleep(time.Minute)
		if got := j.count("WARN", "could not be registered", "10.0.0.1:7946", "registry on fire"); got != 1 || c.Node(0).Trouble() == nil {
			t.Errorf("said %d times, trouble %v:\n%s", got, c.Node(0).Trouble(), j.text.String())
		}
		list.set(func() { list.down = nil })
		time.Sleep(10 * time.Second)
		if len(list.has()) != 1 || j.count("INFO", "registered again") != 1 || c.Node(0).Trouble() != nil {
			t.Errorf("the registry has %q, trouble %v:\n%s", list.has(), c.Node(0).Trouble(), j.text.String())
		}
	})
}

// Where discovery notices a change the node asks at once, but not more than once a
// second.
func TestWatcher(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := newRegistry()
		_, providers := inRegistry(t, 2, list, slog.New(slog.DiscardHandler))
		time.Sleep(5 * time.Minute)
		asked := func() int {
			list.mu.Lock()
			defer list.mu.Unlock()
			return providers[0].asked
		}
		before := asked()
		for range 100 {
			list.set(func() {})
			time.Sleep(100 * time.Millisecond)
		}
		if got := asked() - before; got < 9 || got > 12 {
			t.Errorf("asked %d times in ten seconds of changes", got)
		}
	})
}

// wrong is a provider whose other functions do something wrong.
type wrong struct {
	discovery.Provider
	f func(ctx context.Context) error
}

func (w wrong) Register(ctx context.Context, _ discovery.Registration) error   { return w.f(ctx) }
func (w wrong) Deregister(ctx context.Context, _ discovery.Registration) error { return w.f(ctx) }
func (w wrong) Watch(ctx context.Context, _ func()) error                      { return w.f(ctx) }
func (w wrong) Close() error                                                   { return w.f(context.Background()) }

// What a provider does wrong ends no node, and holds up its Close for seconds at most.
func TestWrongRegistrar(t *testing.T) {
	t.Parallel()
	for how, f := range map[string]func(*testing.T) func(context.Context) error{
		"panics": func(*testing.T) func(context.Context) error { return func(context.Context) error { panic("no") } },
		"fails": func(*testing.T) func(context.Context) error {
			return func(context.Context) error { return errors.New("no") }
		},
		"hangs": func(t *testing.T) func(context.Context) error {
			free := make(chan struct{})
			t.Cleanup(func() { close(free) })
			return func(context.Context) error { <-free; return nil }
		},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n, j, _ := alone(t, wrong{discovery.Static(), f(t)})
				time.Sleep(time.Minute)
				began := time.Now()
				err := n.Close()
				if took := time.Since(began); took > 7*time.Second || err == nil {
					t.Errorf("Close took %v: %v", took, err)
				}
				if j.count("WARN", "could not be registered") != 1 || j.count("WARN", "could not be deregistered") != 1 {
					t.Errorf("the log:\n%s", j.text.String())
				}
			})
		})
	}
}
