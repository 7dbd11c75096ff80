package main

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
	"github.com/runrig-go/runrig/examples/internal/long"
)

// TestRunsAsATask gives the program what ECS gives a container and nothing else:
// the environment, with the secret that the task definition names, and a
// metadata endpoint.
func TestRunsAsATask(t *testing.T) { // not parallel: others have the ports
	long.Only(t, "it runs a task")
	fake := newFake(t)
	bind, listen := ":7946", ":8080"
	var args []string // as in a container
	if !isFree(bind) || !isFree(listen) {
		bind, listen = "127.0.0.1:0", freeAddr(t)
		args = []string{"-bind", bind, "-http", listen}
		t.Logf("ports 7946 and 8080 are not free on all addresses; run with %q", args)
	}
	task := newTask(t, fake, "10.77.0.7")
	p := start(t, append(task.Env(), "RUNRIG_SECRET="+strings.Repeat("0123456789abcdef", 4)), args...)
	p.await(10*time.Second, "the node is up", contains(`msg="node is up"`))

	check := append([]string{"healthcheck"}, healthArgs(listen)...)
	for end := time.Now().Add(10 * time.Second); start(t, nil, check...).wait() != 0; { // until it listens; ECS tries again, too
		if time.Now().After(end) {
			t.Fatal("the health check fails")
		}
	}
	p.await(5*time.Second, "both verticles receive the task's IP", func(output string) bool {
		return strings.Count(output, "local=10.77.0.7") >= 2 && strings.Count(output, "received=10.77.0.7") >= 2
	})
	if code := p.stop(os.Interrupt); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(p.output(), "rehears") {
		t.Error("it rehearsed")
	}
	for _, action := range []string{ecstest.Metadata, "ListTasks", "DescribeTasks"} {
		if fake.Calls(action) == 0 {
			t.Errorf("ECS was never asked for %s", action)
		}
	}
}

func healthArgs(listen string) []string {
	if listen == ":8080" {
		return nil
	}
	return []string{"-http", listen}
}

func TestRefusesToRunOnECSWithoutASecret(t *testing.T) {
	t.Parallel()
	p := start(t, newTask(t, newFake(t), "10.77.0.8").Env())
	if code := p.wait(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if out := p.output(); !strings.Contains(out, "RUNRIG_SECRET is not set") || strings.Contains(out, "rehears") {
		t.Errorf("it said %q", out)
	}
}

// TestDoesNotRehearseOnABrokenECS has the sign of ECS and no metadata: an error,
// never a rehearsal in production.
func TestDoesNotRehearseOnABrokenECS(t *testing.T) {
	heavy(t)
	p := start(t, []string{"ECS_CONTAINER_METADATA_URI_V4=http://" + freeAddr(t) + "/v4/x"})
	if code := p.wait(); code != 1 || !strings.Contains(p.output(), "ECS_CONTAINER_METADATA_URI_V4") {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(p.output(), "rehears") {
		t.Error("it rehearsed")
	}
}

func newFake(t *testing.T) *ecstest.Fake {
	t.Helper()
	fake, err := ecstest.New(ecstest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fake.Close() })
	return fake
}

func newTask(t *testing.T, fake *ecstest.Fake, ip string) *ecstest.Task {
	t.Helper()
	task, err := fake.AddTask(ecstest.TaskConfig{Cluster: "prod", Service: "ecsdemo", Address: ip})
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func isFree(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	l.Close()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
