package ecstest_test

import (
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestStatusesFollowTheScript(t *testing.T) {
	t.Parallel()
	now := newClock()
	fake := newFake(t, ecstest.Config{Now: now.Now})
	task := addTask(t, fake, ecstest.TaskConfig{
		Address: "10.0.0.1", Status: "PROVISIONING",
		Then: append(ecstest.Lifecycle(time.Second), ecstest.Step{After: time.Minute, Status: "DEACTIVATING"}),
	})
	for _, step := range []struct {
		wait time.Duration
		want string
	}{
		{0, "PROVISIONING"},
		{999 * time.Millisecond, "PROVISIONING"},
		{time.Millisecond, "PENDING"},
		{time.Second, "ACTIVATING"},
		{time.Second, "RUNNING"},
		{59 * time.Second, "RUNNING"},
		{time.Second, "DEACTIVATING"},
		{time.Hour, "DEACTIVATING"},
	} {
		now.advance(step.wait)
		if got := task.Status(); got != step.want {
			t.Fatalf("%v later the status is %s, want %s", step.wait, got, step.want)
		}
	}
	other := addTask(t, fake, ecstest.TaskConfig{Address: "10.0.0.2", Status: "PENDING", Then: []ecstest.Step{{After: time.Second, Status: "RUNNING"}}})
	other.Stop()
	now.advance(time.Hour)
	if got := other.Status(); got != "STOPPED" {
		t.Errorf("status is %s, want the script to have ended with Stop", got)
	}
}

func TestListsLagBehind(t *testing.T) {
	t.Parallel()
	now := newClock()
	fake := newFake(t, ecstest.Config{Now: now.Now, Lag: 5 * time.Second})
	task := addTask(t, fake, ecstest.TaskConfig{Address: "10.0.0.1"})
	auth := signature(task, "eu-central-1", "ecs")
	want := func(when string, listed, described int) {
		t.Helper()
		_, list := call(t, fake, auth, "ListTasks", `{}`)
		_, description := call(t, fake, auth, "DescribeTasks", `{"tasks":["`+task.ID()+`"]}`)
		if l, d := len(list["taskArns"].([]any)), len(description["tasks"].([]any)); l != listed || d != described {
			t.Errorf("%s: %d listed and %d described, want %d and %d", when, l, d, listed, described)
		}
	}
	want("new", 0, 0)
	now.advance(5 * time.Second)
	want("known", 1, 1)
	task.Stop()
	want("stopped a moment ago", 1, 1)
	now.advance(5 * time.Second)
	want("stopped", 0, 1)
	task.SetStatus("RUNNING")
	now.advance(5 * time.Second)
	task.Remove()
	want("removed a moment ago", 1, 0)
	now.advance(5 * time.Second)
	want("removed", 0, 0)
}

func TestFaultsEndByTime(t *testing.T) {
	t.Parallel()
	now := newClock()
	fake := newFake(t, ecstest.Config{Now: now.Now})
	auth := signature(addTask(t, fake, ecstest.TaskConfig{Address: "10.0.0.1"}), "eu-central-1", "ecs")
	fault := ecstest.Throttle(0)
	fault.For = 30 * time.Second
	fake.Inject(fault)
	for _, step := range []struct {
		wait time.Duration
		want int
	}{{0, 400}, {29 * time.Second, 400}, {time.Second, 200}} {
		now.advance(step.wait)
		if status, _ := call(t, fake, auth, "ListTasks", `{}`); status != step.want {
			t.Errorf("%v later the answer has status %d, want %d", step.wait, status, step.want)
		}
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	now := newClock()
	fake := newFake(t, ecstest.Config{Now: now.Now, Budget: true})
	auth := signature(addTask(t, fake, ecstest.TaskConfig{Address: "10.0.0.1"}), "eu-central-1", "ecs")
	granted := func(calls int) (granted int) {
		for range calls {
			if status, _ := call(t, fake, auth, "ListTasks", `{}`); status == 200 {
				granted++
			}
		}
		return granted
	}
	if got := granted(130); got != 100 {
		t.Errorf("%d of 130 calls at once were granted, want 100", got)
	}
	now.advance(time.Second)
	if got := granted(30); got != 20 {
		t.Errorf("%d of 30 calls a second later were granted, want 20", got)
	}
	now.advance(time.Hour)
	if got := granted(130); got != 100 {
		t.Errorf("%d of 130 calls an hour later were granted, want 100", got)
	}
}

func TestTagsAreShownToWhoAsks(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	task := addTask(t, fake, ecstest.TaskConfig{Address: "10.0.0.1", Tags: map[string]string{"bus": "a"}})
	auth := signature(task, "eu-central-1", "ecs")
	for include, want := range map[string]int{`[]`: 0, `["TAGS"]`: 1} {
		_, answer := call(t, fake, auth, "DescribeTasks", `{"tasks":["`+task.ID()+`"],"include":`+include+`}`)
		if tags := answer["tasks"].([]any)[0].(map[string]any)["tags"].([]any); len(tags) != want {
			t.Errorf("include %s: tags are %v, want %d", include, tags, want)
		}
	}
}

func TestBadConfigurations(t *testing.T) {
	t.Parallel()
	for _, cfg := range []ecstest.Config{{Lag: -1}, {Listen: "0.0.0.0:0"}, {Listen: "nonsense"}} {
		if fake, err := ecstest.New(cfg); err == nil {
			t.Errorf("New(%+v) gave no error", cfg)
			_ = fake.Close()
		}
	}
	fake := newFake(t, ecstest.Config{Listen: "0.0.0.0:0", URL: "http://169.254.170.2/"})
	if fake.URL() != "http://169.254.170.2" {
		t.Errorf("URL is %q", fake.URL())
	}
	for _, cfg := range []ecstest.TaskConfig{
		{Then: []ecstest.Step{{Status: "RUNING"}}}, {Then: []ecstest.Step{{Status: "RUNNING", After: -1}}}, {Health: "ILL"}, {StopTimeout: -1},
	} {
		cfg.Address = "10.0.0.1"
		if _, err := fake.AddTask(cfg); err == nil {
			t.Errorf("AddTask(%+v) gave no error", cfg)
		}
	}
}
