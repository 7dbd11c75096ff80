package ecs_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/discoverytest"
	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

func TestConformsWhenTheAPIIsDown(t *testing.T) {
	t.Parallel()
	for _, fault := range []ecstest.Fault{ecstest.ServerError(0), {Action: "DescribeTasks", Status: 503, Body: "{}"}} {
		discoverytest.RunDown(t, func(t *testing.T) discovery.Provider {
			fake := newFake(t, ecstest.Config{})
			own := addTask(t, fake, onEC2("10.0.0.1"))
			addTask(t, fake, web("10.0.0.2"))
			fake.Inject(fault)
			return newProvider(t, own, func(cfg *ecs.Config) { cfg.AWS.RetryMaxAttempts = 1 })
		})
	}
}

func TestConforms(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string][]string{
		"awsvpc": {"10.0.0.2:7946", "10.0.0.3:7946"},
		"host":   {"10.0.0.2:7946", "10.0.0.3:7946"},
		"bridge": {"10.0.0.2:7946", "10.0.0.3:7946"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			discoverytest.Run(t, func(t *testing.T) discovery.Provider {
				fake := newFake(t, ecstest.Config{})
				var first *ecstest.Task
				for i := range 3 {
					cfg := web(fmt.Sprintf("10.0.0.%d", i+1))
					cfg.NetworkMode = mode
					task := addTask(t, fake, cfg)
					if first == nil {
						first = task
					}
				}
				return newProvider(t, first, nil)
			}, want)
		})
	}
}

func TestFargateWithoutConfiguration(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	addTask(t, fake, web("10.0.0.2"))
	addTask(t, fake, web("10.0.0.3"))
	addTask(t, fake, ecstest.TaskConfig{Cluster: "prod", Service: "web-2", Address: "10.0.0.4"})
	addTask(t, fake, ecstest.TaskConfig{Cluster: "prod-2", Service: "web", Address: "10.0.0.5"})
	addTask(t, fake, ecstest.TaskConfig{Cluster: "prod", Family: "web", Address: "10.0.0.6"})

	p := newProvider(t, own, nil)
	wantPeers(t, p, "10.0.0.2:7946", "10.0.0.3:7946")
	self := selfOf(t, p)
	if self.Name != own.ID() || self.Addr != "10.0.0.1" || len(self.Tags) != 1 || self.Tags["zone"] != "eu-central-1a" {
		t.Errorf("Self gave %+v", self)
	}
	task := p.Task()
	want := ecs.Task{
		ID: own.ID(), ARN: own.ARN(), Cluster: "arn:aws:ecs:eu-central-1:123456789012:cluster/prod", Family: "web",
		Zone: "eu-central-1a", LaunchType: "FARGATE", NetworkMode: "awsvpc", Container: "app",
		// and what its description adds
		Service: "web", Group: "service:web", Deployment: "ecs-svc/web", Tags: map[string]string{},
		Definition: "arn:aws:ecs:eu-central-1:123456789012:task-definition/web:1",
	}
	if !reflect.DeepEqual(task, want) {
		t.Errorf("Task gave\n%+v, want\n%+v", task, want)
	}
}

func TestServiceNameFromMetadataSavesACall(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	cfg := web("10.0.0.1")
	cfg.LaunchType = "EC2"
	p := newProvider(t, addTask(t, fake, cfg), nil)
	wantPeers(t, p)
	wantCalls(t, fake, "ListTasks=1", "DescribeTasks=0")
}

func TestTaskOfNoServiceLooksForItsFamily(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, ecstest.TaskConfig{Family: "batch", Address: "10.0.0.1"})
	addTask(t, fake, ecstest.TaskConfig{Family: "batch", Address: "10.0.0.2"})
	addTask(t, fake, ecstest.TaskConfig{Family: "other", Address: "10.0.0.3"})
	var log journal
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.Logger = log.logger() })
	for range 2 {
		wantPeers(t, p, "10.0.0.2:7946")
	}
	if n := strings.Count(log.String(), "task belongs to no service"); n != 1 {
		t.Errorf("it is logged %d times that the family is used, want once:\n%s", n, &log)
	}
}

func TestSeveralServicesAndFamilies(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	addTask(t, fake, web("10.0.0.2"))
	addTask(t, fake, ecstest.TaskConfig{Cluster: "prod", Service: "api", Address: "10.0.0.3"})
	addTask(t, fake, ecstest.TaskConfig{Cluster: "prod", Service: "db", Address: "10.0.0.4"})
	addTask(t, fake, ecstest.TaskConfig{Cluster: "prod", Family: "batch", Address: "10.0.0.5"})
	p := newProvider(t, own, func(cfg *ecs.Config) {
		cfg.Services = []string{"web", "api"}
		cfg.Families = []string{"batch", "web"} // tasks of web are found twice
		cfg.Port = 9000
	})
	wantPeers(t, p, "10.0.0.2:9000", "10.0.0.3:9000", "10.0.0.5:9000")
}

func TestOtherCluster(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, ecstest.TaskConfig{Cluster: "edge", Service: "gate", Address: "10.0.0.1"})
	addTask(t, fake, web("10.0.0.2"))
	for _, cluster := range []string{"prod", "arn:aws:ecs:eu-central-1:123456789012:cluster/prod"} {
		p := newProvider(t, own, func(cfg *ecs.Config) {
			cfg.Cluster, cfg.Services = cluster, []string{"arn:aws:ecs:eu-central-1:123456789012:service/prod/web"}
		})
		wantPeers(t, p, "10.0.0.2:7946")
	}
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("fd00::1"))
	addTask(t, fake, web("fd00::2"))
	p := newProvider(t, own, nil)
	wantPeers(t, p, "[fd00::2]:7946")
	if self := selfOf(t, p); self.Addr != "fd00::1" {
		t.Errorf("Self.Addr is %q", self.Addr)
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	task := addTask(t, fake, web("10.0.0.1"))
	for field, change := range map[string]func(*ecs.Config){
		"Config.Port is -1":            func(c *ecs.Config) { c.Port = -1 },
		"Config.Port is 65536":         func(c *ecs.Config) { c.Port = 65536 },
		"Config.Services has an empty": func(c *ecs.Config) { c.Services = []string{"web", ""} },
		"Config.Families has an empty": func(c *ecs.Config) { c.Families = []string{""} },
		"Config.WholeCluster is set beside Serv": func(c *ecs.Config) {
			c.WholeCluster, c.Services, c.Tags = true, []string{"web"}, map[string]string{"a": "b"}
		},
		"every task of the cluster would be a peer; set Tags or Filter": func(c *ecs.Config) { c.WholeCluster = true },
		"Config.Tags has an empty key":                                  func(c *ecs.Config) { c.Tags = map[string]string{"": "b"} },
		`Config.MetadataURL is "here"`:                                  func(c *ecs.Config) { c.MetadataURL = "here" },
		"Config.AWS has no Credentials":                                 func(c *ecs.Config) { c.AWS.Credentials = nil },
		`Config.MetadataURL is "file:///`:                               func(c *ecs.Config) { c.MetadataURL = "file:///etc/passwd" },
	} {
		cfg := task.Config()
		change(&cfg)
		if _, err := ecs.New(t.Context(), cfg); err == nil {
			t.Errorf("New accepted what should say %q", field)
		} else {
			wantText(t, err, field)
		}
	}
}
