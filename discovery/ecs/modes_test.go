package ecs_test

import (
	"strings"
	"testing"

	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// inMode is a task of the service in that network mode, on EC2; in bridge mode its host port is 8001.
func inMode(mode, address string) ecstest.TaskConfig {
	cfg := onEC2(address)
	cfg.NetworkMode = mode
	if mode == "bridge" {
		cfg.Ports = []ecstest.PortMapping{static(8001)}
	}
	return cfg
}

// Where a task is reached depends on its own network mode and not on that of who asks.
func TestModesOfOwnAndOther(t *testing.T) {
	t.Parallel()
	want := map[string]string{"awsvpc": "10.0.0.2:7946", "bridge": "10.0.0.2:8001", "host": "10.0.0.2:7946"}
	for own := range want {
		for other := range want {
			for _, ports := range []string{"none", "mapped to itself", "those of a sidecar"} {
				if ports != "none" && other != "host" {
					continue
				}
				t.Run(own+" sees "+other+" with mappings "+ports, func(t *testing.T) {
					t.Parallel()
					cfg := inMode(other, "10.0.0.2")
					switch ports {
					case "mapped to itself":
						cfg.Ports = []ecstest.PortMapping{static(7946)}
					case "those of a sidecar":
						if own != "host" {
							t.Skip("such a task is not told from one in bridge mode")
						}
						cfg.Sidecars = []string{"statsd"}
						cfg.Ports = []ecstest.PortMapping{{ContainerPort: 8125, HostPort: 8125, Protocol: "udp", Container: "statsd"}}
					}
					fake := newFake(t, ecstest.Config{})
					task := addTask(t, fake, cfg)
					p := newProvider(t, addTask(t, fake, inMode(own, "10.0.0.1")), nil)
					for range 5 {
						wantPeers(t, p, want[other])
					}
					task.SetStatus("STOPPING")
					for _, status := range []string{"PENDING", "ACTIVATING"} {
						cfg.Status, cfg.Address = status, "10.0.0.3"
						starting := addTask(t, fake, cfg)
						for _, addr := range peersOf(t, p) {
							if !strings.HasPrefix(addr, "10.0.0.3:") {
								t.Errorf("%s: Peers gave %q", status, addr)
							}
						}
						starting.SetStatus("RUNNING")
						wantPeers(t, p, strings.Replace(want[other], "0.2", "0.3", 1))
						starting.Remove()
					}
				})
			}
		}
	}
}

// Metadata that lack Networks at first leave nothing behind.
func TestLateNetworks(t *testing.T) {
	t.Parallel()
	for mode, addr := range map[string]string{"awsvpc": "10.0.0.1", "bridge": "10.0.0.1:8001", "host": "10.0.0.1"} {
		for _, self := range []bool{true, false} {
			fake := newFake(t, ecstest.Config{})
			cfg := inMode(mode, "10.0.0.1")
			cfg.LateNetworks = 2 // New reads two documents
			own := addTask(t, fake, cfg)
			other := inMode(mode, "10.0.0.2")
			other.Status = "PENDING"
			starting := addTask(t, fake, other)
			p := newProvider(t, own, nil)
			if mode := p.Task().NetworkMode; mode != "" {
				t.Errorf("the network mode is %q before the metadata tell it", mode)
			}
			if self {
				if got := selfOf(t, p); got.Addr != addr {
					t.Errorf("%s: Self gave %+v", mode, got)
				}
			}
			if mode == "bridge" { // its port is known when it runs
				wantPeers(t, p)
			} else {
				wantPeers(t, p, "10.0.0.2:7946")
			}
			if got := p.Task().NetworkMode; got != mode {
				t.Errorf("the network mode is %q, want %q", got, mode)
			}
			starting.SetStatus("RUNNING")
			wantPeers(t, p, map[string]string{"awsvpc": "10.0.0.2:7946", "bridge": "10.0.0.2:8001", "host": "10.0.0.2:7946"}[mode])
		}
	}
}

// Old agents leave the host port out of the metadata. The description has it, once the task runs.
func TestOwnHostPortFromTheDescription(t *testing.T) {
	t.Parallel()
	now := &virtualClock{}
	fake := newFake(t, ecstest.Config{Now: now.Now})
	cfg := bridge("10.0.0.1", static(8001))
	cfg.EditMetadata = func(_ string, doc map[string]any) { dropHostPorts(doc) }
	own := addTask(t, fake, cfg)
	if self := selfOf(t, newProvider(t, own, nil)); self.Addr != "10.0.0.1:8001" {
		t.Errorf("Self.Addr is %q", self.Addr)
	}
	cfg.Status, cfg.Sidecars, cfg.StartsLast = "ACTIVATING", []string{"envoy"}, true
	asked := make(chan struct{}, 100)
	cfg.EditTask = func(map[string]any) { asked <- struct{}{} }
	own = addTask(t, fake, cfg)
	p := newProvider(t, own, nil)
	go func() { // ends with the second description
		<-asked
		own.SetStatus("RUNNING")
	}()
	if self := selfOf(t, p); self.Addr != "10.0.0.1:8001" {
		t.Errorf("Self.Addr is %q", self.Addr)
	}
}

func dropHostPorts(doc map[string]any) {
	ports, _ := doc["Ports"].([]any)
	for _, port := range ports {
		delete(port.(map[string]any), "HostPort")
	}
	containers, _ := doc["Containers"].([]any)
	for _, c := range containers {
		dropHostPorts(c.(map[string]any))
	}
}

// Metadata of old agents have no availability zone, which the description has.
func TestOwnZoneFromTheDescription(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	cfg := onEC2("10.0.0.1")
	cfg.EditMetadata = func(_ string, doc map[string]any) { delete(doc, "AvailabilityZone") }
	own := addTask(t, fake, cfg)
	p := newProvider(t, own, nil)
	for range 2 {
		if self := selfOf(t, p); self.Tags["zone"] != "eu-central-1a" {
			t.Errorf("Self gave %+v", self)
		}
	}
	wantCalls(t, fake, "DescribeTasks=1")

	fake.Inject(ecstest.AccessDenied("DescribeTasks"))
	var log journal
	p = newProvider(t, own, func(cfg *ecs.Config) { cfg.Logger = log.logger() })
	if self := selfOf(t, p); self.Addr != "10.0.0.1" || self.Tags["zone"] != "" {
		t.Errorf("Self gave %+v", self)
	}
	if !strings.Contains(log.String(), "zone is not known") {
		t.Errorf("the log does not tell that the zone is missing:\n%s", &log)
	}
}
