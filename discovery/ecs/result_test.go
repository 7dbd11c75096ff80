package ecs_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

func lookOf(t *testing.T, p *ecs.Provider) ecs.Result {
	t.Helper()
	result, err := p.Look(t.Context())
	if err != nil {
		t.Fatalf("Look: %v", err)
	}
	return result
}

func equalCounts(got, want map[string]int) bool {
	return len(got) == 0 && len(want) == 0 || maps.Equal(got, want)
}

func TestLookCountsWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	now := &virtualClock{}
	fake := newFake(t, ecstest.Config{Now: now.Now})
	own := addTask(t, fake, bridge("10.0.0.1", static(7946)))
	addTask(t, fake, bridge("10.0.0.2", static(7946)))
	for i, status := range []string{"PROVISIONING", "PROVISIONING"} {
		cfg := web([]string{"10.0.0.3", "10.0.0.4"}[i])
		cfg.Status = status
		addTask(t, fake, cfg)
	}
	leaving := web("10.0.0.5")
	leaving.EditTask = func(task map[string]any) { task["desiredStatus"] = "STOPPED" }
	addTask(t, fake, leaving)
	addTask(t, fake, bridge("10.0.0.6",
		ecstest.PortMapping{ContainerPort: 7946, HostPort: 32768, Protocol: "tcp"},
		ecstest.PortMapping{ContainerPort: 7946, HostPort: 32769, Protocol: "udp"}))
	p := newProvider(t, own, nil)
	for range 2 {
		result := lookOf(t, p)
		want := map[string]int{"it has no address yet": 2, "it is stopping": 1, "it cannot be reached": 1}
		if !slices.Equal(result.Peers, []string{"10.0.0.2:7946"}) || result.Listed != 5 || !result.SelfListed || !maps.Equal(result.Skipped, want) {
			t.Errorf("Look gave %+v, want one peer of 5 and %v", result, want)
		}
	}
}

// A task that stopped and was forgotten may still be listed.
func TestMissingTasksAreCounted(t *testing.T) {
	t.Parallel()
	now := &virtualClock{}
	fake := newFake(t, ecstest.Config{Now: now.Now, Lag: 5 * time.Second})
	own := addTask(t, fake, web("10.0.0.1"))
	addTask(t, fake, web("10.0.0.2"))
	gone := addTask(t, fake, web("10.0.0.3"))
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.AWS.HTTPClient = direct{fake} })
	synctest.Test(t, func(t *testing.T) {
		now.follow()
		gone.Remove()
		result := lookOf(t, p)
		if want := map[string]int{"it cannot be described": 1}; result.Listed != 2 || !maps.Equal(result.Skipped, want) {
			t.Errorf("Look gave %+v, want %v", result, want)
		}
		time.Sleep(5 * time.Second)
		if result := lookOf(t, p); result.Listed != 1 || len(result.Skipped) != 0 {
			t.Errorf("Look gave %+v, want the task to be forgotten", result)
		}
	})
}

func TestResultBesideAnError(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{InstanceAttributes: func(string) map[string]string { return nil }})
	own := addTask(t, fake, web("10.0.0.1"))
	addTask(t, fake, bridge("10.0.0.2", static(7946)))
	p := newProvider(t, own, nil)
	result, err := p.Look(t.Context())
	if !errors.Is(err, ecs.ErrNoAddress) || result.Listed != 1 || !maps.Equal(result.Skipped, map[string]int{"it cannot be reached": 1}) {
		t.Errorf("Look gave %+v, %v; want the task that cannot be reached, and ErrNoAddress", result, err)
	}
	fake.Inject(ecstest.ServerError(0))
	if result, err := p.Look(t.Context()); err == nil || result.Listed != 0 || result.Skipped != nil {
		t.Errorf("Look gave %+v, %v; want nothing beside an error", result, err)
	}
}

// That there are no peers is said loudly, once for each state of affairs.
func TestNoPeersThoughTasksIsLogged(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	cfg := web("10.0.0.2")
	cfg.Status = "PROVISIONING"
	other := addTask(t, fake, cfg)
	var log journal
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.Logger = log.logger() })
	for range 3 {
		wantPeers(t, p)
	}
	if n := strings.Count(log.String(), "level=INFO"); n != 1 || !strings.Contains(log.String(), `skipped="map[it has no address yet:1]"`) {
		t.Errorf("%d lines at info level, want one that says why:\n%s", n, &log)
	}
	other.SetStatus("RUNNING")
	wantPeers(t, p, "10.0.0.2:7946")
	if n := strings.Count(log.String(), "level=INFO"); n != 1 {
		t.Errorf("%d lines at info level, want no further one:\n%s", n, &log)
	}
	other.Remove()
	for range 3 {
		wantPeers(t, p)
	}
	if n := strings.Count(log.String(), "level=INFO"); n != 2 || !strings.Contains(log.String(), "listed=0 peers=0 self=true") {
		t.Errorf("%d lines at info level, want a second one, that only the own task is there:\n%s", n, &log)
	}
}

// An empty list that lacks even the own task is old, and says nothing about others.
func TestListWithoutSelfIsNoProofOfSolitude(t *testing.T) {
	t.Parallel()
	now := &virtualClock{}
	fake := newFake(t, ecstest.Config{Now: now.Now, Lag: 3 * time.Second})
	synctest.Test(t, func(t *testing.T) {
		now.follow()
		own := addTask(t, fake, web("10.0.0.1"))
		p := newProvider(t, own, func(cfg *ecs.Config) { cfg.AWS.HTTPClient = direct{fake} })
		if peers, err := p.Peers(t.Context()); !errors.Is(err, ecs.ErrTemporary) || peers != nil {
			t.Errorf("Peers gave %q, %v; want ErrTemporary: the own task cannot even be described", peers, err)
		}
		ec2 := web("10.0.0.2")
		ec2.LaunchType = "EC2" // whose metadata has the service's name
		own = addTask(t, fake, ec2)
		p = newProvider(t, own, func(cfg *ecs.Config) { cfg.AWS.HTTPClient = direct{fake} })
		peers, err := p.Peers(t.Context())
		if !errors.Is(err, ecs.ErrTemporary) || peers != nil {
			t.Fatalf("Peers gave %q, %v; want ErrTemporary", peers, err)
		}
		wantText(t, err, "lacks even the own task", own.ID(), "prod")
		time.Sleep(3 * time.Second)
		wantPeers(t, p, "10.0.0.1:7946")
		if result := lookOf(t, p); !result.SelfListed || result.Listed != 1 {
			t.Errorf("Look gave %+v", result)
		}
	})
}

func TestWhereTheOwnTaskIsExpected(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	fake.AddService("prod", "api")
	fake.AddCluster("other")
	fake.AddService("other", "web")
	empty := ecstest.Fault{Action: "ListTasks", Status: 200, Body: `{"taskArns":[]}`}
	fake.Inject(empty)
	tagged := map[string]string{"a": "b"}
	for name, tt := range map[string]struct {
		change   func(*ecs.Config)
		expected bool
	}{
		"own service by default": {nil, true},
		"own service by name":    {func(c *ecs.Config) { c.Services = []string{"api", "web"} }, true},
		"own service by ARN":     {func(c *ecs.Config) { c.Services = []string{"arn:aws:ecs:eu-central-1:1:service/prod/web"} }, true},
		"own family":             {func(c *ecs.Config) { c.Families = []string{"web"} }, true},
		"whole cluster":          {func(c *ecs.Config) { c.WholeCluster, c.Tags = true, tagged }, true},
		"another service":        {func(c *ecs.Config) { c.Services = []string{"api"} }, false},
		"another family":         {func(c *ecs.Config) { c.Families = []string{"api"} }, false},
		"another cluster":        {func(c *ecs.Config) { c.Cluster, c.Services = "other", []string{"web"} }, false},
	} {
		peers, err := newProvider(t, own, tt.change).Peers(t.Context())
		if errors.Is(err, ecs.ErrTemporary) != tt.expected || (err == nil) == tt.expected || len(peers) > 0 {
			t.Errorf("%s: an empty list gave %q, %v; want an error: %v", name, peers, err, tt.expected)
		}
	}
}

// Whoever asks while an answer is under way shares it.
func TestConcurrentCallsShareOnePoll(t *testing.T) {
	t.Parallel()
	now := &virtualClock{}
	fake := newFake(t, ecstest.Config{Now: now.Now})
	own := addTask(t, fake, web("10.0.0.1"))
	addTask(t, fake, web("10.0.0.2"))
	synctest.Test(t, func(t *testing.T) {
		now.follow()
		gate := &gated{next: direct{fake}, open: make(chan struct{})}
		p := newProvider(t, own, func(cfg *ecs.Config) { cfg.Services, cfg.AWS.HTTPClient = []string{"web"}, gate })
		var calls sync.WaitGroup
		defer calls.Wait()
		ask := func(ctx context.Context, fails bool) {
			calls.Go(func() {
				peers, err := p.Peers(ctx)
				if (err != nil) != fails || !fails && !slices.Equal(peers, []string{"10.0.0.2:7946"}) {
					t.Errorf("Peers gave %q, %v", peers, err)
				}
			})
		}
		gone, cancel := context.WithCancel(t.Context())
		ask(gone, true)
		synctest.Wait() // it asks, and will be given up
		for range 8 {
			ask(t.Context(), false)
		}
		synctest.Wait()
		cancel()
		synctest.Wait() // the end of a caller's context is its own affair: another one asks
		close(gate.open)
		synctest.Wait()
		if n := gate.calls.Load(); n != 3 { // a list, and a list and a description
			t.Errorf("there were %d calls of the API for all, want 3", n)
		}
		ask(t.Context(), false)
		synctest.Wait()
		if n := gate.calls.Load(); n != 4 {
			t.Errorf("a later call made %d calls of the API, want one", n-3)
		}
	})
}

// gated is an HTTP client whose requests wait until it is open.
type gated struct {
	next  direct
	open  chan struct{}
	calls atomic.Int32
}

func (g *gated) Do(r *http.Request) (*http.Response, error) {
	g.calls.Add(1)
	select {
	case <-g.open:
		return g.next.Do(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// Many tasks that start at the same moment do not all ask at the same moment.
func TestFirstDescriptionOfManyIsSpread(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		tasks       int
		least, most time.Duration // of the longest of 60 draws
	}{
		{10, 0, 0},
		{100, 1500 * time.Millisecond, 2 * time.Second},
		{400, 3750 * time.Millisecond, 5 * time.Second},
	} {
		fake := newFake(t, ecstest.Config{})
		own := addTask(t, fake, web("10.1.0.1"))
		for i := range tt.tasks {
			addTask(t, fake, web(netip4(i)))
		}
		longest := time.Duration(0)
		for i := range 60 {
			p := newProvider(t, own, func(cfg *ecs.Config) { cfg.Services, cfg.AWS.HTTPClient = []string{"web"}, direct{fake} })
			enough := errors.New("enough")
			p.SetSleep(func(_ context.Context, d time.Duration) error {
				longest = max(longest, d)
				return enough
			})
			if _, err := p.Peers(t.Context()); (err != nil) != (tt.most > 0) || err != nil && !errors.Is(err, enough) {
				t.Fatal(err)
			}
			if i > 0 {
				continue
			}
			p.SetSleep(func(context.Context, time.Duration) error {
				t.Error("a later call waits, too")
				return nil
			})
			if _, err := p.Peers(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if longest < tt.least || longest > tt.most {
			t.Errorf("of %d tasks the longest wait of 60 was %v, want %v to %v", tt.tasks, longest, tt.least, tt.most)
		}
	}
}
