package ecs_test

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

func newFake(t *testing.T, cfg ecstest.Config) *ecstest.Fake {
	t.Helper()
	fake, err := ecstest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fake.Close(); err != nil {
			t.Errorf("closing the fake: %v", err)
		}
	})
	return fake
}

func addTask(t *testing.T, fake *ecstest.Fake, cfg ecstest.TaskConfig) *ecstest.Task {
	t.Helper()
	task, err := fake.AddTask(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// web is a task of the service that most tests are about.
func web(address string) ecstest.TaskConfig {
	return ecstest.TaskConfig{Cluster: "prod", Service: "web", Address: address}
}

// bridge is a task of that service in bridge mode, on the host with that address.
func bridge(host string, ports ...ecstest.PortMapping) ecstest.TaskConfig {
	cfg := web(host)
	cfg.NetworkMode, cfg.Ports = "bridge", ports
	return cfg
}

// newProvider makes a provider for the task, after change (which may be nil) has been applied.
func newProvider(t *testing.T, task *ecstest.Task, change func(*ecs.Config)) *ecs.Provider {
	t.Helper()
	cfg := task.Config()
	cfg.Logger = slog.New(slog.DiscardHandler)
	if change != nil {
		change(&cfg)
	}
	p, err := ecs.New(t.Context(), cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return p
}

func peersOf(t *testing.T, p discovery.Provider) []string {
	t.Helper()
	peers, err := p.Peers(t.Context())
	if err != nil {
		t.Fatalf("Peers: %v", err)
	}
	return peers
}

func wantPeers(t *testing.T, p discovery.Provider, want ...string) {
	t.Helper()
	got := peersOf(t, p)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("Peers gave %q, want %q", got, want)
	}
}

func selfOf(t *testing.T, p *ecs.Provider) discovery.Self {
	t.Helper()
	self, err := p.Self(t.Context())
	if err != nil {
		t.Fatalf("Self: %v", err)
	}
	return self
}

// wantCalls checks how often each action was called: "ListTasks=1", say.
func wantCalls(t *testing.T, fake *ecstest.Fake, want ...string) {
	t.Helper()
	for _, w := range want {
		action, count, _ := strings.Cut(w, "=")
		if got := fmt.Sprint(fake.Calls(action)); got != count {
			t.Errorf("%s was called %s times, want %s", action, got, cmp.Or(count, "0"))
		}
	}
}

// wantText checks that an error's text has all these parts.
func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not contain %q", fmt.Sprint(err), part)
		}
	}
}

// journal keeps what is logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
