package ecs_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

func static(host int) ecstest.PortMapping {
	return ecstest.PortMapping{ContainerPort: 7946, HostPort: host}
}

func TestBridgeWithStaticHostPorts(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, bridge("10.0.0.1", static(8001), ecstest.PortMapping{ContainerPort: 80, HostPort: 8080, Protocol: "tcp"}))
	addTask(t, fake, bridge("10.0.0.2", static(8002)))
	addTask(t, fake, bridge("10.0.0.2", static(8003))) // two tasks on one host
	p := newProvider(t, own, nil)
	wantPeers(t, p, "10.0.0.2:8002", "10.0.0.2:8003")
	wantCalls(t, fake, "DescribeContainerInstances=1")
	wantPeers(t, p, "10.0.0.2:8002", "10.0.0.2:8003")
	wantCalls(t, fake, "DescribeContainerInstances=1")
	addTask(t, fake, bridge("10.0.0.2", static(8004))) // on a host that is known
	wantPeers(t, p, "10.0.0.2:8002", "10.0.0.2:8003", "10.0.0.2:8004")
	wantCalls(t, fake, "DescribeContainerInstances=1")
	if self := selfOf(t, p); self.Addr != "10.0.0.1:8001" || self.Name != own.ID() {
		t.Errorf("Self gave %+v, want the host's address and port", self)
	}
}

// Three tasks on a machine that has only one address, as in a rehearsal.
func TestBridgeOnLoopback(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	var tasks []*ecstest.Task
	for i := range 3 {
		tasks = append(tasks, addTask(t, fake, bridge("127.0.0.1", static(8001+i))))
	}
	for i, task := range tasks {
		p := newProvider(t, task, nil)
		if self := selfOf(t, p); self.Addr != fmt.Sprintf("127.0.0.1:%d", 8001+i) {
			t.Errorf("Self.Addr is %q", self.Addr)
		}
		wantPeers(t, p, fmt.Sprintf("127.0.0.1:%d", 8001+(i+1)%3), fmt.Sprintf("127.0.0.1:%d", 8001+(i+2)%3))
	}
}

func TestUnsuitablePortMappings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ports []ecstest.PortMapping
		says  string
	}{
		"dynamic": {[]ecstest.PortMapping{
			{ContainerPort: 7946, HostPort: 32768, Protocol: "tcp"},
			{ContainerPort: 7946, HostPort: 32769, Protocol: "udp"},
		}, "32768 for tcp but 32769 for udp"},
		"tcp only":   {[]ecstest.PortMapping{{ContainerPort: 7946, HostPort: 7946, Protocol: "tcp"}}, "one protocol only"},
		"udp only":   {[]ecstest.PortMapping{{ContainerPort: 7946, HostPort: 7946, Protocol: "udp"}}, "one protocol only"},
		"other port": {[]ecstest.PortMapping{{ContainerPort: 80, HostPort: 8080}}, "container port 7946 is not mapped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, ecstest.Config{})
			own := addTask(t, fake, bridge("10.0.0.1", tt.ports...))
			other := addTask(t, fake, bridge("10.0.0.2", tt.ports...))
			var log journal
			p := newProvider(t, own, func(cfg *ecs.Config) { cfg.Logger = log.logger() })

			_, err := p.Self(t.Context())
			if !errors.Is(err, ecs.ErrHostPort) {
				t.Errorf("Self: error is %v, want ErrHostPort", err)
			}
			wantText(t, err, tt.says, "same static hostPort", "awsvpc")

			for range 2 {
				peers, err := p.Peers(t.Context())
				if !errors.Is(err, ecs.ErrHostPort) || peers != nil {
					t.Errorf("Peers gave %q, %v; want ErrHostPort: another task is there", peers, err)
				}
				wantText(t, err, tt.says, "1 other tasks run")
			}
			if n := strings.Count(log.String(), "task="+other.ID()); n != 1 {
				t.Errorf("the task that is left out is logged %d times, want once:\n%s", n, &log)
			}

			addTask(t, fake, bridge("10.0.0.3", static(7946)))
			wantPeers(t, p, "10.0.0.3:7946") // a good one makes it a list
		})
	}
}

func TestMappingForIPv4IsPreferred(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	edit := func(list string, ip, container, host, protocol string) func(map[string]any) {
		return func(doc map[string]any) {
			ports, _ := doc[list].([]any)
			if ports == nil {
				return
			}
			other := []any{
				map[string]any{ip: "::", container: 7946, host: 40001, protocol: "tcp"},
				map[string]any{ip: "::", container: 7946, host: 40002, protocol: "udp"},
			}
			doc[list] = append(other, ports...)
		}
	}
	own := bridge("10.0.0.1", static(8001))
	ownEdit := edit("Ports", "HostIp", "ContainerPort", "HostPort", "Protocol")
	own.EditMetadata = func(_ string, doc map[string]any) { ownEdit(doc) }
	other := bridge("10.0.0.2", static(8002))
	otherEdit := edit("networkBindings", "bindIP", "containerPort", "hostPort", "protocol")
	other.EditTask = func(task map[string]any) {
		for _, c := range task["containers"].([]any) {
			otherEdit(c.(map[string]any))
		}
	}
	addTask(t, fake, other)
	p := newProvider(t, addTask(t, fake, own), nil)
	wantPeers(t, p, "10.0.0.2:8002")
	if self := selfOf(t, p); self.Addr != "10.0.0.1:8001" {
		t.Errorf("Self.Addr is %q", self.Addr)
	}
}

// A sidecar may map the same container port; the container with the own one's name counts.
func TestMappingOfTheOwnContainerIsPreferred(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	cfg := bridge("10.0.0.2", static(8002))
	cfg.Sidecars = []string{"sidecar"}
	cfg.EditTask = func(task map[string]any) {
		sidecar := task["containers"].([]any)[0].(map[string]any)
		sidecar["networkBindings"] = []any{
			map[string]any{"bindIP": "0.0.0.0", "containerPort": 7946, "hostPort": 9001, "protocol": "tcp"},
			map[string]any{"bindIP": "0.0.0.0", "containerPort": 7946, "hostPort": 9001, "protocol": "udp"},
		}
	}
	addTask(t, fake, cfg)
	wantPeers(t, newProvider(t, addTask(t, fake, bridge("10.0.0.1", static(8001))), nil), "10.0.0.2:8002")
}

// In metadata the ports appear some time after the container has started.
func TestOwnPortsMayAppearLate(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	cfg := bridge("10.0.0.1", static(8001))
	reads := 0
	cfg.EditMetadata = func(path string, doc map[string]any) {
		if strings.HasSuffix(path, "/task") {
			return
		}
		if reads++; reads <= 2 {
			delete(doc, "Ports")
		}
	}
	p := newProvider(t, addTask(t, fake, cfg), nil)
	if self := selfOf(t, p); self.Addr != "10.0.0.1:8001" {
		t.Errorf("Self.Addr is %q", self.Addr)
	}
}

func TestBridgeTaskThatOnlyStartsHasNoPortYet(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, bridge("10.0.0.1", static(8001)))
	cfg := bridge("10.0.0.2", static(8002))
	cfg.Status = "PENDING"
	other := addTask(t, fake, cfg)
	p := newProvider(t, own, nil)
	wantPeers(t, p)
	other.SetStatus("RUNNING")
	wantPeers(t, p, "10.0.0.2:8002")
}

// The metadata of host mode has one empty address, and ports need no mapping.
func TestHostMode(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own, other := web("10.0.0.1"), web("10.0.0.2")
	own.NetworkMode, other.NetworkMode = "host", "host"
	other.Status = "PENDING"
	addTask(t, fake, other)
	p := newProvider(t, addTask(t, fake, own), nil)
	wantPeers(t, p, "10.0.0.2:7946")
	if self := selfOf(t, p); self.Addr != "10.0.0.1" {
		t.Errorf("Self.Addr is %q, want the host's without a port", self.Addr)
	}
}

func TestHostIP(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, bridge("10.0.0.1", static(8001)))
	addTask(t, fake, bridge("10.0.0.2", static(8002)))
	asked := map[string]int{}
	answer := netip.MustParseAddr("10.7.7.7")
	var fails error
	p := newProvider(t, own, func(cfg *ecs.Config) {
		cfg.HostIP = func(_ context.Context, arn string) (netip.Addr, error) {
			asked[arn]++
			return answer, fails
		}
	})
	fails = errors.New("inventory down")
	if peers, err := p.Peers(t.Context()); !errors.Is(err, fails) || peers != nil {
		t.Fatalf("Peers gave %q, %v; want the error of HostIP", peers, err)
	}
	fails = nil
	wantPeers(t, p, "10.7.7.7:8002")
	wantPeers(t, p, "10.7.7.7:8002")
	if self := selfOf(t, p); self.Addr != "10.7.7.7:8001" {
		t.Errorf("Self.Addr is %q", self.Addr)
	}
	for arn, n := range asked {
		if !strings.HasPrefix(arn, "arn:aws:ecs:eu-central-1:123456789012:container-instance/prod/") || n > 2 {
			t.Errorf("HostIP was asked %d times for %q", n, arn)
		}
	}
	wantCalls(t, fake, "DescribeContainerInstances=0")

	answer = netip.MustParseAddr("169.254.1.1")
	addTask(t, fake, bridge("10.0.0.3", static(8003)))
	if _, err := p.Peers(t.Context()); !errors.Is(err, ecs.ErrNoAddress) {
		t.Errorf("Peers: error is %v, want ErrNoAddress for a link-local answer", err)
	} else {
		wantText(t, err, "169.254.1.1", "Config.HostIP")
	}
}

func TestInstanceWithoutAttribute(t *testing.T) {
	t.Parallel()
	var late atomic.Bool
	fake := newFake(t, ecstest.Config{InstanceAttributes: func(address string) map[string]string {
		if address == "10.0.0.3" || late.Load() {
			return map[string]string{"private-ip": address}
		}
		return map[string]string{"rack": "7"}
	}})
	own := addTask(t, fake, bridge("10.0.0.1", static(8001)))
	addTask(t, fake, bridge("10.0.0.2", static(8002)))
	p := newProvider(t, own, nil)
	_, err := p.Self(t.Context())
	if !errors.Is(err, ecs.ErrNoAddress) {
		t.Errorf("Self: error is %v, want ErrNoAddress", err)
	}
	wantText(t, err, `"private-ip"`, "ECS_INSTANCE_ATTRIBUTES", "Config.HostIP")
	if peers, err := p.Peers(t.Context()); !errors.Is(err, ecs.ErrNoAddress) || peers != nil {
		t.Errorf("Peers gave %q, %v; want ErrNoAddress: another task is there", peers, err)
	}
	addTask(t, fake, bridge("10.0.0.3", static(8003)))
	wantPeers(t, p, "10.0.0.3:8003")
	late.Store(true) // somebody sets the attribute
	wantPeers(t, p, "10.0.0.2:8002", "10.0.0.3:8003")
}

// What the own description is needed for, service and container instance, costs one call.
func TestOwnTaskIsDescribedOnce(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	cfg := bridge("10.0.0.1", static(8001))
	cfg.MetadataVersion = 3 // has no ServiceName
	p := newProvider(t, addTask(t, fake, cfg), nil)
	for range 2 {
		selfOf(t, p)
		wantPeers(t, p)
	}
	wantCalls(t, fake, "DescribeTasks=1", "ListTasks=2")
}

func TestMetadataFile(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		file  string
		want  string
		calls string
	}{
		"ready":     {`{"MetadataFileStatus":"READY","HostPrivateIPv4Address":"10.5.5.5","ContainerInstanceARN":"arn:x/y"}`, "10.5.5.5:8001", "DescribeContainerInstances=0"},
		"not ready": {`{"ContainerInstanceARN":"arn:x/y"}`, "10.0.0.1:8001", "DescribeContainerInstances=1"},
		"half":      {`{"MetadataFileSta`, "10.0.0.1:8001", "DescribeContainerInstances=1"},
		"empty":     {``, "10.0.0.1:8001", "DescribeContainerInstances=1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "ecs-container-metadata.json")
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			fake := newFake(t, ecstest.Config{})
			own := addTask(t, fake, bridge("10.0.0.1", static(8001)))
			p, err := ecs.NewWithEnv(t.Context(), own.Config(), map[string]string{"ECS_CONTAINER_METADATA_FILE": path})
			if err != nil {
				t.Fatal(err)
			}
			if self := selfOf(t, p); self.Addr != tt.want {
				t.Errorf("Self.Addr is %q, want %q", self.Addr, tt.want)
			}
			wantCalls(t, fake, tt.calls)
		})
	}
}
