package ecs_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// abroad is a provider for the task own that asks another account, in the same region and about a
// cluster and service of the same names.
func abroad(t *testing.T, own *ecstest.Task, far *ecstest.Fake, cluster string, change func(*ecs.Config)) *ecs.Provider {
	t.Helper()
	there := addTask(t, far, ecstest.TaskConfig{Cluster: "elsewhere", Address: "10.9.9.9"})
	return newProvider(t, there, func(cfg *ecs.Config) {
		cfg.MetadataURL = own.Config().MetadataURL
		cfg.Cluster, cfg.Services = cluster, []string{"web"}
		if change != nil {
			change(cfg)
		}
	})
}

// Home is an account and a region. Another account knows nothing of the own task, and its answers
// are right without it.
func TestAnotherAccount(t *testing.T) {
	t.Parallel()
	for _, cluster := range []string{"prod", "arn:aws:ecs:eu-central-1:222222222222:cluster/prod"} {
		home, far := newFake(t, ecstest.Config{Account: "111111111111"}), newFake(t, ecstest.Config{Account: "222222222222"})
		own := addTask(t, home, web("10.0.0.1"))
		addTask(t, home, web("10.0.0.2"))
		there := addTask(t, far, web("10.9.0.1"))
		plain := abroad(t, own, far, cluster, nil)
		wantPeers(t, plain, "10.9.0.1:7946")
		wantPeers(t, abroad(t, own, far, cluster, func(cfg *ecs.Config) {
			cfg.Filter = func(own, other ecs.Task) bool {
				return own.ID != "" && other.Cluster == "arn:aws:ecs:eu-central-1:222222222222:cluster/prod"
			}
		}), "10.9.0.1:7946")
		_, err := abroad(t, own, far, cluster, func(cfg *ecs.Config) { cfg.SameDeployment = true }).Peers(t.Context())
		wantText(t, err, "Config.SameDeployment", `account "222222222222"`, `region "eu-central-1"`)

		there.Stop()
		both := discovery.Merge(newProvider(t, own, nil), plain, abroad(t, own, far, cluster, nil))
		for range 2 {
			wantPeers(t, plain)
			wantPeers(t, abroad(t, own, far, cluster, nil))
			wantPeers(t, both, "10.0.0.2:7946")
		}
		if self, err := both.(discovery.Identifier).Self(t.Context()); err != nil || self.Name != own.ID() {
			t.Errorf("Self of the merged ones gave %+v, %v", self, err)
		}
		wantCalls(t, far, "DescribeTasks=2") // neither of them about the own task
	}
}

// What only the own account can tell is not asked of another one.
func TestAnotherAccountIsNotAskedAboutTheOwnTask(t *testing.T) {
	t.Parallel()
	home, far := newFake(t, ecstest.Config{Account: "111111111111"}), newFake(t, ecstest.Config{Account: "222222222222"})
	own := addTask(t, home, bridge("10.0.0.1", static(8001)))
	p := abroad(t, own, far, "arn:aws:ecs:eu-central-1:222222222222:cluster/prod", nil)
	_, err := p.Self(t.Context())
	if !discovery.IsMisconfigured(err) {
		t.Errorf("Self: error is %v", err)
	}
	wantText(t, err, own.ID(), `account "222222222222"`, "Provider of its own account")
	p = abroad(t, addTask(t, home, web("10.0.0.2")), far, "arn:aws:ecs:eu-central-1:222222222222:cluster/prod", func(cfg *ecs.Config) { cfg.Services = nil })
	_, err = p.Peers(t.Context())
	wantText(t, err, "Config.Services and Families are empty", `account "222222222222"`)
	wantCalls(t, far, "DescribeTasks=0", "DescribeContainerInstances=0")
}

// The region of a cluster's ARN is the one to ask.
func TestRegionOfTheClustersARN(t *testing.T) {
	t.Parallel()
	home, far := newFake(t, ecstest.Config{}), newFake(t, ecstest.Config{Region: "us-east-2"})
	own := addTask(t, home, web("10.0.0.1"))
	addTask(t, far, web("10.9.0.1"))
	wantPeers(t, abroad(t, own, far, "arn:aws:ecs:us-east-2:123456789012:cluster/prod", nil), "10.9.0.1:7946")
}

func TestPolicyNamesTheAccountThatIsAsked(t *testing.T) {
	t.Parallel()
	home, far := newFake(t, ecstest.Config{Account: "111111111111"}), newFake(t, ecstest.Config{Account: "222222222222"})
	own := addTask(t, home, web("10.0.0.1"))
	far.AddCluster("prod")
	far.Inject(ecstest.AccessDenied("ListTasks"))
	for cluster, resource := range map[string]string{
		"prod": "arn:aws:ecs:eu-central-1:*:task/prod/*",
		"arn:aws:ecs:eu-central-1:222222222222:cluster/prod": "arn:aws:ecs:eu-central-1:222222222222:task/prod/*",
	} {
		var log journal
		_, err := abroad(t, own, far, cluster, func(cfg *ecs.Config) { cfg.Logger = log.logger() }).Peers(t.Context())
		wantOnly(t, err, ecs.ErrAccessDenied)
		if !strings.Contains(log.String(), resource) {
			t.Errorf("the policy for %s lacks %s:\n%s", cluster, resource, &log)
		}
	}
}

// A service that does not exist yet hides those that do no more than one without tasks.
func TestMissingServiceHidesNoOther(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, onEC2("10.0.0.1"))
	addTask(t, fake, web("10.0.0.2"))
	var log journal
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.Services, cfg.Logger = []string{"worker", "web"}, log.logger() })
	for range 5 {
		wantPeers(t, p, "10.0.0.2:7946")
	}
	if got := lookOf(t, p).Missing; !slices.Equal(got, []string{"worker"}) {
		t.Errorf("Missing is %q", got)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "services=[worker]") {
		t.Errorf("%d warnings, want one about worker:\n%s", n, &log)
	}
	addTask(t, fake, ecstest.TaskConfig{Cluster: "prod", Service: "worker", Address: "10.0.1.1"})
	wantPeers(t, p, "10.0.0.2:7946", "10.0.1.1:7946")
	if got := lookOf(t, p).Missing; len(got) != 0 || !strings.Contains(log.String(), "all services exist now") {
		t.Errorf("Missing is %q; the log:\n%s", got, &log)
	}

	p = newProvider(t, own, func(cfg *ecs.Config) { cfg.Services = []string{"wrong", "wronger"} })
	_, err := p.Peers(t.Context())
	wantOnly(t, err, ecs.ErrServiceNotFound)
	wantText(t, err, `"wrong"`, `"wronger"`)
}

func TestServiceOfAnotherCluster(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, onEC2("10.0.0.1"))
	addTask(t, fake, ecstest.TaskConfig{Cluster: "other", Service: "web", Address: "10.0.1.1"})
	for arn, says := range map[string][]string{
		"arn:aws:ecs:eu-central-1:123456789012:service/other/web": {`cluster "other"`, `"prod"`, "Config.Cluster", "discovery.Merge"},
		"arn:aws:ecs:us-east-2:123456789012:service/prod/web":     {`region "us-east-2"`, `"eu-central-1"`},
	} {
		_, err := newProvider(t, own, func(cfg *ecs.Config) { cfg.Services = []string{arn} }).Peers(t.Context())
		if !errors.Is(err, ecs.ErrServiceNotFound) {
			t.Errorf("%s: error is %v, want ErrServiceNotFound", arn, err)
		}
		wantText(t, err, append(says, arn)...)
	}
	wantPeers(t, newProvider(t, own, func(cfg *ecs.Config) {
		cfg.Cluster, cfg.Services = "other", []string{"arn:aws:ecs:eu-central-1:123456789012:service/other/web"}
	}), "10.0.1.1:7946")
}
