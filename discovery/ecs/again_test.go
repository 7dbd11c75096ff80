package ecs_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// withProxy is a task in bridge mode whose sidecar maps a port of its own, and starts first.
func withProxy(host string) ecstest.TaskConfig {
	cfg := bridge(host, static(7946), ecstest.PortMapping{ContainerPort: 9901, HostPort: 9902, Protocol: "tcp", Container: "envoy"})
	cfg.Sidecars, cfg.StartsLast, cfg.Status = []string{"envoy"}, true, "ACTIVATING"
	return cfg
}

// Two tasks that start together see of each other what is mapped so far: nothing follows from it.
func TestMappingsThatAppearOneByOne(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	a, b := addTask(t, fake, withProxy("10.0.0.1")), addTask(t, fake, withProxy("10.0.0.2"))
	pa, pb := newProvider(t, a, nil), newProvider(t, b, nil)
	for range 5 {
		wantPeers(t, pa)
		wantPeers(t, pb)
		if got := lookOf(t, pa).Skipped; !equalCounts(got, map[string]int{"it has no address yet": 1}) {
			t.Errorf("Skipped is %v", got)
		}
	}
	a.SetStatus("RUNNING")
	b.SetStatus("RUNNING")
	wantPeers(t, pa, "10.0.0.2:7946")
	wantPeers(t, pb, "10.0.0.1:7946")
}

// timed runs f in virtual time with a provider of own, whose client calls the fake as a function.
func timed(t *testing.T, now *virtualClock, fake *ecstest.Fake, own *ecstest.Task, change func(*ecs.Config), f func(t *testing.T, p *ecs.Provider)) {
	t.Helper()
	p := newProvider(t, own, func(cfg *ecs.Config) {
		cfg.AWS.HTTPClient = direct{fake}
		if change != nil {
			change(cfg)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		now.follow()
		f(t, p)
	})
}

// Whatever is wrong with a task that runs, and is mended, is noticed: at once when it is new, within
// some minutes when it has been so for long.
func TestNothingNegativeIsForEver(t *testing.T) {
	t.Parallel()
	dynamic := func(host string) ecstest.TaskConfig {
		return bridge(host, ecstest.PortMapping{ContainerPort: 7946, HostPort: 32768, Protocol: "tcp"}, ecstest.PortMapping{ContainerPort: 7946, HostPort: 32769, Protocol: "udp"})
	}
	for name, spoil := range map[string]struct {
		cfg   ecstest.TaskConfig
		task  func(task map[string]any)
		asked func(*ecs.Config)
	}{
		"mappings late": {cfg: bridge("10.0.0.2", static(7946)), task: func(task map[string]any) {
			containersOf(task)[0]["networkBindings"] = []any{}
		}},
		"mappings of a sidecar only": {cfg: withProxy("10.0.0.2"), task: func(task map[string]any) {
			containersOf(task)[1]["networkBindings"] = []any{}
		}},
		"dynamic mappings": {cfg: dynamic("10.0.0.2")},
		"no interface yet": {cfg: web("10.0.0.2"), task: func(task map[string]any) {
			task["attachments"], task["containers"] = []any{}, []any{}
		}},
		"a tag late":   {cfg: web("10.0.0.2"), asked: func(cfg *ecs.Config) { cfg.Tags = map[string]string{"bus": "x"} }},
		"no attribute": {cfg: bridge("10.0.0.99", static(7946))},
	} {
		for _, after := range []time.Duration{0, time.Hour} {
			t.Run(name+" for "+after.String(), func(t *testing.T) {
				t.Parallel()
				mended := false
				now := &virtualClock{}
				fake := newFake(t, ecstest.Config{Now: now.Now, InstanceAttributes: func(address string) map[string]string {
					if address == "10.0.0.99" && !mended {
						return nil
					}
					return map[string]string{"private-ip": address}
				}})
				cfg := spoil.cfg
				cfg.Status = "RUNNING"
				cfg.EditTask = func(task map[string]any) {
					switch {
					case !mended && spoil.task != nil:
						spoil.task(task)
					case mended && name == "dynamic mappings":
						for _, b := range containersOf(task)[0]["networkBindings"].([]any) {
							b.(map[string]any)["hostPort"] = 7946
						}
					case mended && name == "a tag late":
						task["tags"] = []any{map[string]any{"key": "bus", "value": "x"}}
					}
				}
				own := bridge("10.0.0.1", static(7946))
				addTask(t, fake, cfg)
				timed(t, now, fake, addTask(t, fake, own), spoil.asked, func(t *testing.T, p *ecs.Provider) {
					want := cfg.Address + ":7946"
					for deadline := time.Now().Add(after); time.Now().Before(deadline); time.Sleep(30 * time.Second) {
						if peers, err := p.Peers(t.Context()); len(peers) > 0 && name != "mappings late" {
							t.Fatalf("Peers gave %q, %v", peers, err)
						}
					}
					_, _ = p.Peers(t.Context())
					mended = true
					for deadline := time.Now().Add(5*time.Minute + time.Second); ; time.Sleep(30 * time.Second) {
						peers, err := p.Peers(t.Context())
						if len(peers) == 1 && peers[0] == want {
							return
						}
						if time.Now().After(deadline) {
							t.Fatalf("five minutes after it was mended Peers gives %q, %v; want %s", peers, err, want)
						}
					}
				})
			})
		}
	}
}

func containersOf(task map[string]any) (all []map[string]any) {
	for _, c := range task["containers"].([]any) {
		all = append(all, c.(map[string]any))
	}
	return all
}

// A task that runs without a mapping is taken for one of host mode; when mappings come after all
// they count.
func TestLateMappingsCorrectAnAddress(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	late := true
	cfg := bridge("10.0.0.2", static(8001))
	cfg.EditTask = func(task map[string]any) {
		if late {
			containersOf(task)[0]["networkBindings"] = []any{}
		}
	}
	addTask(t, fake, cfg)
	p := newProvider(t, addTask(t, fake, bridge("10.0.0.1", static(7946))), nil)
	wantPeers(t, p, "10.0.0.2:7946")
	late = false
	wantPeers(t, p, "10.0.0.2:8001")
}

// What is sure is never asked again, and what was concluded is sure after some minutes.
func TestLooksAreSettled(t *testing.T) {
	t.Parallel()
	for mode, most := range map[string]int{"awsvpc": 1, "bridge": 1, "host": 7} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			now := &virtualClock{}
			fake := newFake(t, ecstest.Config{Now: now.Now})
			cfg := onEC2("10.0.0.1") // whose metadata tell its service
			cfg.NetworkMode = mode
			own := addTask(t, fake, cfg)
			cfg.Address = "10.0.0.2"
			addTask(t, fake, cfg)
			timed(t, now, fake, own, nil, func(t *testing.T, p *ecs.Provider) {
				for range 240 { // two hours
					wantPeers(t, p, "10.0.0.2:7946")
					time.Sleep(30 * time.Second)
				}
				if got := fake.Calls("DescribeTasks"); got > most {
					t.Errorf("the task was described %d times, want %d", got, most)
				}
				wantCalls(t, fake, "ListTasks=240")
			})
		})
	}
}

// A task that is listed and cannot be described hides no other, known ones included.
func TestMissingTaskHidesNoOther(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, onEC2("10.0.0.1"))
	addTask(t, fake, web("10.0.0.2"))
	p := newProvider(t, own, nil)
	wantPeers(t, p, "10.0.0.2:7946")
	addTask(t, fake, web("10.0.0.3"))
	fake.Inject(ecstest.Fault{Action: "DescribeTasks", Status: 200, Body: `{"tasks":[],"failures":[{"reason":"MISSING"}]}`})
	for range 2 {
		wantPeers(t, p, "10.0.0.2:7946")
	}
	if got := lookOf(t, p).Skipped; !equalCounts(got, map[string]int{"it cannot be described": 1}) {
		t.Errorf("Skipped is %v", got)
	}
	fake.ClearFaults()
	wantPeers(t, p, "10.0.0.2:7946", "10.0.0.3:7946")
}

// A poll that fails half-way has not been in vain.
func TestFailedPollKeepsWhatItLearned(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, onEC2("10.1.0.1"))
	for i := range 250 {
		addTask(t, fake, web(netip4(i)))
	}
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.AWS.HTTPClient = &third{direct: direct{fake}}; cfg.AWS.RetryMaxAttempts = 1 })
	p.SetSleep(noSleep)
	if peers, err := p.Peers(t.Context()); !errors.Is(err, ecs.ErrTemporary) || peers != nil {
		t.Fatalf("Peers gave %q, %v; want ErrTemporary", peers, err)
	}
	if got := len(peersOf(t, p)); got != 250 {
		t.Errorf("%d peers, want 250", got)
	}
	wantCalls(t, fake, "DescribeTasks=3") // the third one failed without the fake
}

func TestNilProvider(t *testing.T) {
	t.Parallel()
	var p *ecs.Provider
	_, err := p.Peers(t.Context())
	if !discovery.IsMisconfigured(err) {
		t.Errorf("error is %v", err)
	}
	wantText(t, err, "the Provider is nil", "the error of New")
	if _, err := p.Self(t.Context()); !discovery.IsMisconfigured(err) {
		t.Errorf("Self: %v", err)
	}
}

// While the container that runs the node has no mapping, that of a sidecar for the same port is not
// taken for it.
func TestMappingOfASidecarIsNotTheNodes(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	cfg := withProxy("10.0.0.2")
	cfg.Ports = append(cfg.Ports, ecstest.PortMapping{ContainerPort: 7946, HostPort: 9001, Container: "envoy"})
	other := addTask(t, fake, cfg)
	p := newProvider(t, addTask(t, fake, bridge("10.0.0.1", static(7946))), nil)
	wantPeers(t, p)
	other.SetStatus("RUNNING")
	wantPeers(t, p, "10.0.0.2:7946")
}
