package ecs_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// mixed is a cluster of tasks that differ in what can be chosen by. The own one is a.
func mixed(t *testing.T) (*ecstest.Fake, *ecstest.Task) {
	t.Helper()
	fake := newFake(t, ecstest.Config{})
	add := func(ip, service, deployment string, revision int, tags map[string]string) *ecstest.Task {
		return addTask(t, fake, ecstest.TaskConfig{
			Cluster: "prod", Service: service, Address: ip, StartedBy: deployment, Revision: revision, Tags: tags,
		})
	}
	own := add("10.0.0.1", "web", "ecs-svc/blue", 1, map[string]string{"bus": "x"})
	add("10.0.0.2", "web", "ecs-svc/blue", 1, map[string]string{"bus": "x", "team": "a"})
	add("10.0.0.3", "web", "ecs-svc/green", 2, map[string]string{"bus": "y"})
	add("10.0.0.4", "api", "ecs-svc/api", 1, map[string]string{"bus": "x"})
	add("10.0.0.5", "db", "ecs-svc/db", 7, nil)
	return fake, own
}

func TestChoice(t *testing.T) {
	t.Parallel()
	fake, own := mixed(t)
	for name, tt := range map[string]struct {
		change  func(*ecs.Config)
		want    []string
		skipped map[string]int
	}{
		"all of the service": {nil, []string{"2", "3"}, nil},
		"one deployment": {
			func(c *ecs.Config) { c.SameDeployment = true },
			[]string{"2"}, map[string]int{"it is of another deployment": 1},
		},
		"tags in the service": {
			func(c *ecs.Config) { c.Tags = map[string]string{"bus": "x", "team": "a"} },
			[]string{"2"}, map[string]int{"it has other tags": 1},
		},
		"tags in the cluster": {
			func(c *ecs.Config) { c.WholeCluster, c.Tags = true, map[string]string{"bus": "x"} },
			[]string{"2", "4"}, map[string]int{"it has other tags": 2},
		},
		"a group": {
			func(c *ecs.Config) {
				c.WholeCluster = true
				c.Filter = func(_, other ecs.Task) bool { return strings.HasPrefix(other.Group, "service:d") }
			},
			[]string{"5"}, map[string]int{"Config.Filter refused it": 3},
		},
		"the same task definition": {
			func(c *ecs.Config) {
				c.Filter = func(own, other ecs.Task) bool { return own.Definition == other.Definition }
			},
			[]string{"2"}, map[string]int{"Config.Filter refused it": 1},
		},
		"the own tag's value": {
			func(c *ecs.Config) {
				c.WholeCluster = true
				c.Filter = func(own, other ecs.Task) bool { return own.Tags["bus"] == other.Tags["bus"] }
			},
			[]string{"2", "4"}, map[string]int{"Config.Filter refused it": 2},
		},
		"several at once": {
			func(c *ecs.Config) {
				c.WholeCluster, c.SameDeployment, c.Tags = true, true, map[string]string{"bus": "x"}
			},
			[]string{"2"}, map[string]int{"it has other tags": 2, "it is of another deployment": 1},
		},
		"a tag that no task has": {
			func(c *ecs.Config) { c.Tags = map[string]string{"bus": ""} },
			nil, map[string]int{"it has other tags": 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, own, tt.change)
			for range 2 { // the second time from what was kept
				result := lookOf(t, p)
				var got []string
				for _, addr := range result.Peers {
					got = append(got, strings.TrimSuffix(strings.TrimPrefix(addr, "10.0.0."), ":7946"))
				}
				if slices.Sort(got); !slices.Equal(got, tt.want) {
					t.Errorf("Peers are %q, want %q", got, tt.want)
				}
				if !equalCounts(result.Skipped, tt.skipped) {
					t.Errorf("Skipped is %v, want %v", result.Skipped, tt.skipped)
				}
			}
		})
	}
	_ = fake
}

// What is refused for good is not asked about again.
func TestRefusedTasksAreDescribedOnce(t *testing.T) {
	t.Parallel()
	fake, own := mixed(t)
	p := newProvider(t, own, func(c *ecs.Config) { c.WholeCluster, c.Tags = true, map[string]string{"bus": "x"} })
	for range 3 {
		wantPeers(t, p, "10.0.0.2:7946", "10.0.0.4:7946")
	}
	wantCalls(t, fake, "ListTasks=3", "DescribeTasks=1")
}

func TestFilterIsGivenWhatIsKnown(t *testing.T) {
	t.Parallel()
	_, own := mixed(t)
	asked := map[string]int{}
	p := newProvider(t, own, func(c *ecs.Config) {
		c.Filter = func(own, other ecs.Task) bool {
			if own.ID == "" || own.Service != "web" || own.Group != "service:web" || own.Deployment != "ecs-svc/blue" || own.Tags["bus"] != "x" ||
				own.Container != "app" {
				t.Errorf("Filter is told that the own task is %+v", own)
			}
			if other.ARN == "" || other.ID == "" || other.Service != "web" || other.Family != "web" || other.Zone != "eu-central-1a" ||
				other.LaunchType != "FARGATE" || other.Cluster != "arn:aws:ecs:eu-central-1:123456789012:cluster/prod" {
				t.Errorf("Filter is told of %+v", other)
			}
			clear(own.Tags) // what it is given is its own
			clear(other.Tags)
			asked[other.ID]++
			return true
		}
	})
	for range 3 {
		wantPeers(t, p, "10.0.0.2:7946", "10.0.0.3:7946")
	}
	for id, n := range asked {
		if n != 1 || len(asked) != 2 {
			t.Errorf("Filter was asked %d times about %s, want once about each of two", n, id)
		}
	}
}

func TestSkipUnhealthy(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	ill := web("10.0.0.2")
	ill.Health = "UNHEALTHY"
	other := addTask(t, fake, ill)
	addTask(t, fake, web("10.0.0.3")) // its health is not known
	p := newProvider(t, own, func(c *ecs.Config) { c.SkipUnhealthy = true })
	wantPeers(t, p, "10.0.0.3:7946")
	if got := lookOf(t, p).Skipped; !equalCounts(got, map[string]int{"it is unhealthy": 1}) {
		t.Errorf("Skipped is %v", got)
	}
	other.SetHealth("HEALTHY")
	wantPeers(t, p, "10.0.0.2:7946", "10.0.0.3:7946")
	other.SetHealth("UNHEALTHY")
	wantPeers(t, p, "10.0.0.3:7946")
	// Without the option health makes no difference: who waits for others to be healthy is never found.
	wantPeers(t, newProvider(t, own, nil), "10.0.0.2:7946", "10.0.0.3:7946")
}

func TestSameDeploymentInAnotherRegion(t *testing.T) {
	t.Parallel()
	_, own := mixed(t)
	far := newFake(t, ecstest.Config{Region: "us-east-2"})
	there := addTask(t, far, web("10.9.0.1"))
	cfg := there.Config()
	cfg.MetadataURL, cfg.Region, cfg.Services = own.Config().MetadataURL, "us-east-2", []string{"web"}
	cfg.Cluster = "prod" // by name, since the own cluster's ARN is that of another region
	p, err := ecs.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	wantPeers(t, p, "10.9.0.1:7946")
	cfg.SameDeployment = true
	if p, err = ecs.New(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	_, err = p.Peers(t.Context())
	wantText(t, err, "Config.SameDeployment is set", own.ID(), `"us-east-2"`, "use Tags or Filter")
}
