package ecs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

func TestManyTasksArePagedAndDescribedByTheHundred(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.1.0.1"))
	var want []string
	for i := range 250 {
		task := addTask(t, fake, web(fmt.Sprintf("10.0.%d.%d", i/200, i%200+1)))
		want = append(want, task.Address()+":7946")
	}
	// Not over a connection: where the answer is there before net/http has done with the request's
	// body, which the SDK closes, it may cut off an answer of this size, and the SDK tries once more.
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.AWS.HTTPClient = direct{fake} })
	p.SetSleep(func(context.Context, time.Duration) error { return nil })
	wantPeers(t, p, want...)
	wantCalls(t, fake, "ListTasks=3", "DescribeTasks=4") // one of them for the own task
	wantPeers(t, p, want...)
	wantCalls(t, fake, "ListTasks=6", "DescribeTasks=4")
}

func TestSmallPages(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{PageSize: 2})
	own := addTask(t, fake, web("10.0.0.1"))
	for i := 2; i <= 6; i++ {
		addTask(t, fake, web(fmt.Sprintf("10.0.0.%d", i)))
	}
	wantPeers(t, newProvider(t, own, nil), "10.0.0.2:7946", "10.0.0.3:7946", "10.0.0.4:7946", "10.0.0.5:7946", "10.0.0.6:7946")
	wantCalls(t, fake, "ListTasks=3")
}

// What bounds a list is tasks, not pages; pages are counted by nobody.
func TestPagesOfOne(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{PageSize: 1})
	own := addTask(t, fake, onEC2("10.1.0.1"))
	for i := range 250 {
		addTask(t, fake, web(netip4(i)))
	}
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.AWS.HTTPClient = direct{fake} })
	p.SetSleep(noSleep)
	if got := len(peersOf(t, p)); got != 250 {
		t.Errorf("%d peers, want 250", got)
	}
	wantCalls(t, fake, "ListTasks=251", "DescribeTasks=3")
}

// As many tasks as AWS allows a service.
func TestFiveThousandTasks(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, onEC2("10.1.0.1"))
	others := 4999
	if testing.Short() {
		others = 999
	}
	for i := range others {
		addTask(t, fake, web(netip4(i)))
	}
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.AWS.HTTPClient = direct{fake} })
	p.SetSleep(noSleep)
	for range 2 {
		if got := len(peersOf(t, p)); got != others {
			t.Fatalf("%d peers, want %d", got, others)
		}
	}
	pages := (others + 1) / 100
	wantCalls(t, fake, fmt.Sprintf("ListTasks=%d", 2*pages), fmt.Sprintf("DescribeTasks=%d", pages))
}

func TestUnchangedListCostsOneCall(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	gone := addTask(t, fake, web("10.0.0.2"))
	p := newProvider(t, own, nil)
	wantPeers(t, p, "10.0.0.2:7946")
	wantCalls(t, fake, "ListTasks=1", "DescribeTasks=2")
	for range 3 {
		wantPeers(t, p, "10.0.0.2:7946")
	}
	wantCalls(t, fake, "ListTasks=4", "DescribeTasks=2")

	addTask(t, fake, web("10.0.0.3"))
	gone.Stop()
	wantPeers(t, p, "10.0.0.3:7946")
	wantCalls(t, fake, "ListTasks=5", "DescribeTasks=3")
	wantPeers(t, p, "10.0.0.3:7946")
	wantCalls(t, fake, "ListTasks=6", "DescribeTasks=3")
}

// A task that only starts is looked at again, until it runs.
func TestStartingTaskIsDescribedUntilItRuns(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	cfg := web("10.0.0.2")
	cfg.Status = "PENDING"
	other := addTask(t, fake, cfg)
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.Services = []string{"web"} })
	for range 2 {
		wantPeers(t, p, "10.0.0.2:7946")
	}
	wantCalls(t, fake, "DescribeTasks=2")
	other.SetStatus("RUNNING")
	for range 2 {
		wantPeers(t, p, "10.0.0.2:7946")
	}
	wantCalls(t, fake, "DescribeTasks=3")
}

func TestStatesOfATask(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	cfg := web("10.0.0.2")
	cfg.Status = "PROVISIONING"
	other := addTask(t, fake, cfg)
	var log journal
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.Logger = log.logger() })
	wantPeers(t, p)
	if text := log.String(); !strings.Contains(text, `reason="it has no address yet"`) || !strings.Contains(text, other.ID()) {
		t.Errorf("the log does not say why the task was left out:\n%s", text)
	}
	for _, state := range []string{"PENDING", "ACTIVATING", "RUNNING"} {
		other.SetStatus(state)
		wantPeers(t, p, "10.0.0.2:7946")
	}
	for _, state := range []string{"DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED", "DELETED"} {
		other.SetStatus(state)
		wantPeers(t, p)
	}
	other.Remove()
	wantPeers(t, p)
}

// ECS may list tasks that have stopped a moment ago.
func TestListedButStoppingTasksAreLeftOut(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	for i, change := range []map[string]any{
		{"desiredStatus": "STOPPED"},
		{"lastStatus": "DEACTIVATING"},
		{"lastStatus": "STOPPED", "desiredStatus": "STOPPED"},
	} {
		cfg := web(fmt.Sprintf("10.0.0.%d", i+2))
		cfg.EditTask = func(task map[string]any) {
			for name, value := range change {
				task[name] = value
			}
		}
		addTask(t, fake, cfg)
	}
	addTask(t, fake, web("10.0.0.9"))
	var log journal
	wantPeers(t, newProvider(t, own, func(cfg *ecs.Config) { cfg.Logger = log.logger() }), "10.0.0.9:7946")
	if n := strings.Count(log.String(), `reason="it is stopping"`); n != 3 {
		t.Errorf("%d tasks are said to be stopping, want 3:\n%s", n, &log)
	}
}

func TestLikelyEstablishedComeFirst(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	start := time.Now().Add(-time.Hour)
	add := func(i int, status string, age time.Duration) {
		cfg := web(fmt.Sprintf("10.0.0.%d", i))
		cfg.Status = status
		if age > 0 {
			cfg.StartedAt = start.Add(-age)
		}
		addTask(t, fake, cfg)
	}
	add(20, "PENDING", 0)
	add(30, "ACTIVATING", 0)
	for i := range 8 { // 10.0.0.40 is the youngest
		add(40+i, "RUNNING", time.Duration(i+1)*time.Minute)
	}
	p := newProvider(t, own, nil)
	firsts := map[string]bool{}
	for range 60 {
		got := peersOf(t, p)
		firsts[got[0]] = true
		blocks := [][]string{
			{"10.0.0.44:7946", "10.0.0.45:7946", "10.0.0.46:7946", "10.0.0.47:7946"},
			{"10.0.0.40:7946", "10.0.0.41:7946", "10.0.0.42:7946", "10.0.0.43:7946"},
			{"10.0.0.30:7946"}, {"10.0.0.20:7946"},
		}
		for at := 0; len(blocks) > 0; blocks = blocks[1:] {
			part := slices.Sorted(slices.Values(got[at : at+len(blocks[0])]))
			if !slices.Equal(part, blocks[0]) {
				t.Fatalf("Peers gave %q, want first the oldest four, then the others that run, then 30, then 20", got)
			}
			at += len(blocks[0])
		}
	}
	if len(firsts) < 2 {
		t.Errorf("in 60 answers the first was always %v, want neighbours to take turns", firsts)
	}
}

func TestSidecarsAndOtherAttachments(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	cfg := web("10.0.0.2")
	cfg.Sidecars = []string{"envoy", "logs"}
	cfg.EditTask = func(task map[string]any) {
		attachments := task["attachments"].([]any)
		decoys := []any{
			attachment("AmazonElasticBlockStorage", "ATTACHED", "10.9.9.1"),
			attachment("Service Connect", "ATTACHED", "10.9.9.2"),
			attachment("ElasticNetworkInterface", "DETACHED", "10.9.9.3"),
			attachment("elasticnetworkinterface", "ATTACHED", "10.9.9.4"),
		}
		task["attachments"] = append(decoys, attachments...)
	}
	addTask(t, fake, cfg)
	wantPeers(t, newProvider(t, own, nil), "10.0.0.2:7946")
}

func attachment(kind, status, ip string) any {
	return map[string]any{"id": "x", "type": kind, "status": status, "details": []any{
		map[string]any{"name": "privateIPv4Address", "value": ip},
	}}
}

func TestAddressFromContainersWhenTheAttachmentHasNone(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	cfg := web("10.0.0.2")
	cfg.EditTask = func(task map[string]any) { task["attachments"] = []any{} }
	addTask(t, fake, cfg)
	wantPeers(t, newProvider(t, own, nil), "10.0.0.2:7946")
}

// A task with a network interface of its own is never looked for at its host's address.
func TestInterfaceWithoutAddressIsNotTheHosts(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	cfg := web("10.0.0.2")
	cfg.LaunchType = "EC2"
	cfg.EditTask = func(task map[string]any) {
		task["attachments"].([]any)[0].(map[string]any)["details"] = []any{}
		task["containers"] = []any{}
	}
	addTask(t, fake, cfg)
	wantPeers(t, newProvider(t, addTask(t, fake, web("10.0.0.1")), nil))
	wantCalls(t, fake, "DescribeContainerInstances=0")
}

// Whatever is missing from a description, nothing panics, and the others are found.
func TestMissingFields(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"awsvpc", "bridge", "host"} {
		fake := newFake(t, ecstest.Config{})
		cfg := web("10.0.0.1")
		cfg.NetworkMode = mode
		own := addTask(t, fake, cfg)
		lacking := ""
		cfg.Address = "10.0.0.2"
		cfg.EditTask = func(task map[string]any) {
			if lacking == "all" {
				arn := task["taskArn"]
				clear(task)
				task["taskArn"] = arn
				return
			}
			task[lacking] = nil
			for _, list := range []string{"containers", "attachments"} {
				items, _ := task[list].([]any)
				for _, item := range items {
					item.(map[string]any)[lacking] = nil
				}
			}
		}
		addTask(t, fake, cfg)
		cfg.Address, cfg.EditTask = "10.0.0.3", nil
		addTask(t, fake, cfg)
		for _, lacking = range []string{
			"all", "attachments", "containers", "containerInstanceArn", "lastStatus", "desiredStatus", "startedAt", "group",
			"availabilityZone", "details", "type", "status", "name", "networkInterfaces", "networkBindings",
		} {
			p := newProvider(t, own, nil)
			if got := peersOf(t, p); !slices.Contains(got, "10.0.0.3:7946") || slices.ContainsFunc(got, unlikely) {
				t.Errorf("mode %s without %s: Peers gave %q", mode, lacking, got)
			}
		}
	}
}

func unlikely(addr string) bool { return addr != "10.0.0.2:7946" && addr != "10.0.0.3:7946" }

func TestUnreachableAddressesAreNotPeers(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	for _, address := range []string{"169.254.172.5", "fe80::1", "0.0.0.0", "224.0.0.1"} {
		addTask(t, fake, web(address))
	}
	addTask(t, fake, web("10.0.0.2"))
	wantPeers(t, newProvider(t, own, nil), "10.0.0.2:7946")
}

func TestOldAndNewTasksOfADeploymentAreBothPeers(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	for i, deployment := range []string{"ecs-svc/1", "ecs-svc/2"} {
		cfg := web(fmt.Sprintf("10.0.0.%d", i+2))
		cfg.StartedBy = deployment
		addTask(t, fake, cfg)
	}
	wantPeers(t, newProvider(t, own, nil), "10.0.0.2:7946", "10.0.0.3:7946")
}

// Answers that are not from ECS are "could not ask", not "nobody there".
func TestStrangeAnswersAreErrors(t *testing.T) {
	t.Parallel()
	const ownARN = "arn:aws:ecs:eu-central-1:123456789012:task/prod/"
	for name, fault := range map[string]ecstest.Fault{
		"empty object":          {Action: "ListTasks", Status: 200, Body: "{}"},
		"empty body":            {Action: "ListTasks", Status: 200},
		"no JSON":               {Action: "ListTasks", Status: 200, Body: "<html>Welcome to the hotel's Wi-Fi</html>"},
		"null":                  {Action: "ListTasks", Status: 200, Body: "null"},
		"wrong type":            {Action: "ListTasks", Status: 200, Body: `{"taskArns":{"a":"b"}}`},
		"redirect":              {Action: "ListTasks", Status: 302, Body: "{}"},
		"pages without end":     {Action: "ListTasks", Status: 200, Body: `{"taskArns":["` + ownARN + `1"],"nextToken":"x"}`},
		"nothing described":     {Action: "DescribeTasks", Status: 200, Body: "{}"},
		"others described":      {Action: "DescribeTasks", Status: 200, Body: `{"tasks":[{"taskArn":null}]}`},
		"only failures":         {Action: "DescribeTasks", Status: 200, Body: `{"tasks":[],"failures":[{"reason":"MISSING"}]}`},
		"description no object": {Action: "DescribeTasks", Status: 200, Body: `[]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, ecstest.Config{})
			own := addTask(t, fake, web("10.0.0.1"))
			addTask(t, fake, web("10.0.0.2"))
			p := newProvider(t, own, func(cfg *ecs.Config) { cfg.Services = []string{"web"} })
			fake.Inject(fault)
			peers, err := p.Peers(t.Context())
			if err == nil || peers != nil {
				t.Fatalf("Peers gave %q, %v; want an error", peers, err)
			}
			if !errors.Is(err, ecs.ErrTemporary) {
				t.Errorf("error is not ErrTemporary: %v", err)
			}
			fake.ClearFaults()
			wantPeers(t, p, "10.0.0.2:7946")
		})
	}
}

// A list that can be read only in part is an error, and the next one is complete.
func TestNoPartialList(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{PageSize: 1})
	own := addTask(t, fake, web("10.0.0.1"))
	addTask(t, fake, web("10.0.0.2"))
	p := newProvider(t, own, nil)
	wantPeers(t, p, "10.0.0.2:7946")
	addTask(t, fake, web("10.0.0.3"))
	fake.Inject(ecstest.Fault{Action: "ListTasks", Status: http.StatusOK, Body: `{"taskArns":["` + own.ARN() + `"],"nextToken":"x"}`})
	if peers, err := p.Peers(t.Context()); !errors.Is(err, ecs.ErrTemporary) || peers != nil { // each page is followed by itself
		t.Fatalf("Peers gave %q, %v; want ErrTemporary", peers, err)
	}
	wantCalls(t, fake, "ListTasks=4") // two pages and two
	fake.ClearFaults()
	wantPeers(t, p, "10.0.0.2:7946", "10.0.0.3:7946")

	fake2 := newFake(t, ecstest.Config{})
	own2 := addTask(t, fake2, web("10.0.0.1"))
	addTask(t, fake2, web("10.0.0.2"))
	p2 := newProvider(t, own2, nil)
	wantPeers(t, p2, "10.0.0.2:7946")
	third := addTask(t, fake2, web("10.0.0.3"))
	fake2.Inject(ecstest.Fault{Action: "DescribeTasks", Status: http.StatusBadRequest, Type: "ClientException", Message: "no"})
	if peers, err := p2.Peers(t.Context()); err == nil || peers != nil {
		t.Fatalf("Peers gave %q, %v; want an error", peers, err)
	}
	fake2.ClearFaults()
	addTask(t, fake2, web("10.0.0.4"))
	fake2.Inject(ecstest.Fault{Action: "DescribeTasks", Status: http.StatusOK, Body: `{"tasks":[{"taskArn":"` + third.ARN() + `"}],"failures":[]}`})
	if peers, err := p2.Peers(t.Context()); !errors.Is(err, ecs.ErrTemporary) || peers != nil {
		t.Fatalf("Peers gave %q, %v; want ErrTemporary: one of two tasks was described", peers, err)
	}
	fake2.ClearFaults()
	wantPeers(t, p2, "10.0.0.2:7946", "10.0.0.3:7946", "10.0.0.4:7946")
}
