package ecs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// An hour of a node that asks each 30 s, while half of the fleet lacks the attribute.
func TestHourOfTasksOutOfReach(t *testing.T) {
	t.Parallel()
	now := &virtualClock{}
	fake := newFake(t, ecstest.Config{Now: now.Now, InstanceAttributes: func(address string) map[string]string {
		if strings.HasPrefix(address, "10.0.9.") {
			return nil
		}
		return map[string]string{"private-ip": address}
	}})
	own := onEC2("10.0.0.1")
	own.NetworkMode = "bridge"
	task := addTask(t, fake, own)
	addTask(t, fake, bridge("10.0.0.2", static(7946)))
	for i := range 20 {
		addTask(t, fake, bridge(fmt.Sprintf("10.0.9.%d", i+1), static(7946)))
	}
	var log journal
	timed(t, now, fake, task, func(cfg *ecs.Config) { cfg.Logger = log.logger() }, func(t *testing.T, p *ecs.Provider) {
		for range 120 {
			wantPeers(t, p, "10.0.0.2:7946")
			time.Sleep(30 * time.Second)
		}
	})
	text := log.String()
	if n := strings.Count(text, "level=WARN"); n != 1 || !strings.Contains(text, "others=19") {
		t.Errorf("%d lines at WARN, want one for all 20:\n%s", n, text)
	}
	if n := strings.Count(text, `msg="task left out"`); n != 20 {
		t.Errorf("%d lines about tasks, want one for each", n)
	}
	calls := fake.Calls("")
	t.Logf("120 polls made %d calls: %d lists, %d descriptions of tasks, %d of instances", calls,
		fake.Calls("ListTasks"), fake.Calls("DescribeTasks"), fake.Calls("DescribeContainerInstances"))
	if calls > 120+40 {
		t.Errorf("120 polls made %d calls, want one each and two more each five minutes", calls)
	}
}

// That a reason has changed is news; that a task is still out of reach is not.
func TestAnotherReasonIsWarnedOf(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	cfg := bridge("10.0.0.2", static(7946))
	var drop string
	cfg.EditTask = func(task map[string]any) {
		bindings := containersOf(task)[0]["networkBindings"].([]any)
		for i, b := range bindings {
			if b.(map[string]any)["protocol"] == drop {
				containersOf(task)[0]["networkBindings"] = append(bindings[:i:i], bindings[i+1:]...)
			}
		}
	}
	addTask(t, fake, cfg)
	addTask(t, fake, bridge("10.0.0.3", static(7946)))
	var log journal
	p := newProvider(t, addTask(t, fake, bridge("10.0.0.1", static(7946))), func(cfg *ecs.Config) { cfg.Logger = log.logger() })
	for _, drop = range []string{"tcp", "tcp", "udp"} {
		wantPeers(t, p, "10.0.0.3:7946")
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 2 {
		t.Errorf("%d warnings, want two:\n%s", n, &log)
	}
}

// Tasks that are there and are all refused are worth a warning: a tag may be misspelt.
func TestWarnsWhenNoneIsWanted(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*ecs.Config)
		after  time.Duration
	}{
		"tags":           {func(c *ecs.Config) { c.Tags = map[string]string{"a": "b"} }, 0},
		"filter":         {func(c *ecs.Config) { c.Filter = func(ecs.Task, ecs.Task) bool { return false } }, 0},
		"whole cluster":  {func(c *ecs.Config) { c.WholeCluster, c.Tags = true, map[string]string{"a": "b"} }, 0},
		"health":         {func(c *ecs.Config) { c.SkipUnhealthy = true }, 0},
		"one deployment": {func(c *ecs.Config) { c.SameDeployment = true }, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := &virtualClock{}
			fake := newFake(t, ecstest.Config{Now: now.Now})
			own := onEC2("10.0.0.1")
			own.StartedBy = "ecs-svc/new"
			task := addTask(t, fake, own)
			for i := range 5 {
				cfg := web(fmt.Sprintf("10.0.1.%d", i+1))
				cfg.Health = "UNHEALTHY"
				addTask(t, fake, cfg)
			}
			var log journal
			timed(t, now, fake, task, func(cfg *ecs.Config) { cfg.Logger = log.logger(); tt.change(cfg) }, func(t *testing.T, p *ecs.Provider) {
				start := time.Now()
				for range 60 {
					wantPeers(t, p)
					n := strings.Count(log.String(), "level=WARN")
					if since := time.Since(start); n != 1 && since >= tt.after || n != 0 && since < tt.after {
						t.Fatalf("%d warnings after %v:\n%s", n, since, &log)
					}
					time.Sleep(30 * time.Second)
				}
				if !strings.Contains(log.String(), "none passes") || !strings.Contains(log.String(), "listed=5") {
					t.Errorf("the warning is another one:\n%s", &log)
				}
			})
		})
	}
}
