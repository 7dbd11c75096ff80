package ecstest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// bindingsOf describes the task and gives each container's state and number of port mappings.
func bindingsOf(t *testing.T, fake *ecstest.Fake, task *ecstest.Task) (seen []string) {
	t.Helper()
	_, answer := call(t, fake, signature(task, "eu-central-1", "ecs"), "DescribeTasks", `{"tasks":["`+task.ARN()+`"]}`)
	described := answer["tasks"].([]any)[0].(map[string]any)
	for _, c := range described["containers"].([]any) {
		container := c.(map[string]any)
		bindings, _ := container["networkBindings"].([]any)
		seen = append(seen, fmt.Sprint(container["name"], " ", container["lastStatus"], " ", len(bindings)))
	}
	return seen
}

func TestContainersStartOneAfterTheOther(t *testing.T) {
	fake := newFake(t, ecstest.Config{})
	task := addTask(t, fake, ecstest.TaskConfig{
		Address: "10.0.0.1", NetworkMode: "bridge", Sidecars: []string{"envoy", "logs"}, StartsLast: true, Status: "PENDING",
		Ports: []ecstest.PortMapping{{ContainerPort: 7946, HostPort: 7946}, {ContainerPort: 9901, HostPort: 9901, Protocol: "tcp", Container: "envoy"}},
	})
	for _, tt := range []struct {
		status string
		want   []string
	}{
		{"PENDING", []string{"envoy PENDING 0", "logs PENDING 0", "app PENDING 0"}},
		{"ACTIVATING", []string{"envoy RUNNING 1", "logs RUNNING 0", "app PENDING 0"}},
		{"RUNNING", []string{"envoy RUNNING 1", "logs RUNNING 0", "app RUNNING 2"}},
	} {
		task.SetStatus(tt.status)
		if got := bindingsOf(t, fake, task); !slices.Equal(got, tt.want) {
			t.Errorf("%s: containers are %q, want %q", tt.status, got, tt.want)
		}
	}
}

// Host mode needs no mappings; those that are given are shown, as ECS does.
func TestMappingsInHostMode(t *testing.T) {
	fake := newFake(t, ecstest.Config{})
	cfg := ecstest.TaskConfig{Address: "10.0.0.1", NetworkMode: "host"}
	if got := bindingsOf(t, fake, addTask(t, fake, cfg)); !slices.Equal(got, []string{"app RUNNING 0"}) {
		t.Errorf("containers are %q", got)
	}
	cfg.Ports = []ecstest.PortMapping{{ContainerPort: 80, HostPort: 80, Protocol: "tcp"}}
	if got := bindingsOf(t, fake, addTask(t, fake, cfg)); !slices.Equal(got, []string{"app RUNNING 1"}) {
		t.Errorf("containers are %q", got)
	}
	cfg.Ports[0].HostPort = 8080
	if _, err := fake.AddTask(cfg); err == nil || !strings.Contains(err.Error(), "Ports[0] maps 80 to 8080") {
		t.Errorf("error is %v", err)
	}
	cfg.Ports[0] = ecstest.PortMapping{ContainerPort: 80, HostPort: 80, Container: "envoy"}
	if _, err := fake.AddTask(cfg); err == nil || !strings.Contains(err.Error(), `Container is "envoy"`) {
		t.Errorf("error is %v", err)
	}
}

func TestMetadataWithLateNetworks(t *testing.T) {
	fake := newFake(t, ecstest.Config{})
	task := addTask(t, fake, ecstest.TaskConfig{Address: "10.0.0.1", NetworkMode: "bridge", LateNetworks: 2})
	for i, want := range []bool{false, false, true, true} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, task.Config().MetadataURL+[]string{"/task", ""}[i%2], nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, text := do(t, req); strings.Contains(text, "Networks") != want || strings.Contains(text, "HostPort") != want {
			t.Errorf("answer %d is %s", i, text)
		}
	}
}

func TestServicesByARN(t *testing.T) {
	fake := newFake(t, ecstest.Config{})
	task := addTask(t, fake, ecstest.TaskConfig{Cluster: "prod", Service: "web", Address: "10.0.0.1"})
	fake.AddService("other", "web")
	for service, want := range map[string]string{
		"web": "", "nothing": "ServiceNotFoundException",
		"arn:aws:ecs:eu-central-1:123456789012:service/web":       "",
		"arn:aws:ecs:eu-central-1:123456789012:service/prod/web":  "",
		"arn:aws:ecs:eu-central-1:123456789012:service/other/web": "InvalidParameterException",
		"arn:aws:ecs:eu-central-1:999999999999:service/web":       "ServiceNotFoundException",
	} {
		_, answer := call(t, fake, signature(task, "eu-central-1", "ecs"), "ListTasks", `{"cluster":"prod","serviceName":"`+service+`"}`)
		if got, _ := answer["__type"].(string); got != want {
			t.Errorf("%s: answer is %v, want %q", service, answer, want)
		}
	}
}
