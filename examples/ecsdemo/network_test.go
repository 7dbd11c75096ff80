package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// insideVariable holds, in the process that has a network of its own to play
// with, the path of the program.
const insideVariable = "ECSDEMO_INSIDE"

// TestTasksWithNetworksOfTheirOwn gives each task what awsvpc mode gives it: a
// network namespace with an address. The program needs no argument there, and
// finds the others. It needs Linux and the right to make namespaces.
func TestTasksWithNetworksOfTheirOwn(t *testing.T) {
	if os.Getenv(insideVariable) != "" {
		runInNetworks(t)
		return
	}
	heavy(t)
	if runtime.GOOS != "linux" {
		t.Skip("it needs Linux's namespaces")
	}
	for _, args := range []string{"unshare -Urn ip link add br0 type bridge", "nsenter --version"} {
		if out, err := command(args).CombinedOutput(); err != nil {
			t.Skipf("%s: %v: %s", args, err, out)
		}
	}
	cmd := command("unshare -Urn " + os.Args[0] + " -test.run=^TestTasksWithNetworksOfTheirOwn$")
	cmd.Env = append(os.Environ(), insideVariable+"="+binary)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

func runInNetworks(t *testing.T) {
	mustRun(t, "ip link add br0 type bridge")
	mustRun(t, "ip addr add 10.77.0.1/24 dev br0")
	mustRun(t, "ip link set br0 up")
	fake, err := ecstest.New(ecstest.Config{Listen: "10.77.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fake.Close() })

	var all []*process
	var ips []string
	for i := range 3 {
		ip := fmt.Sprintf("10.77.0.%d", 11+i)
		ips = append(ips, ip)
		all = append(all, startInNetwork(t, newTask(t, fake, ip)))
	}
	checkAll(t, ips...)
	for i, p := range all {
		p.await(10*time.Second, "it receives the IPs of others", met(0, ips[i]))
	}

	if code := all[0].stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	checkAll(t, ips[1:]...)
	for i, p := range all {
		if i > 0 {
			if code := p.stop(syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d", code)
			}
		}
		if out := p.output(); !strings.Contains(out, " failed=0 ") || !strings.Contains(out, "bus.unknown=0 bus.deadletters=0") {
			t.Errorf("%s failed to send, or lost, messages:\n%s", ips[i], out)
		}
	}
}

// startInNetwork starts the program in a network namespace of its own, which is
// connected to br0, with the environment of a task and no argument.
func startInNetwork(t *testing.T, task *ecstest.Task) *process {
	t.Helper()
	cmd := exec.Command("unshare", "-n", "sh", "-c", `echo ready; read go; exec "$0"`, os.Getenv(insideVariable))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := startCommand(t, cmd, append(task.Env(), "RUNRIG_SECRET="+strings.Repeat("0123456789abcdef", 4)))
	p.await(5*time.Second, "its namespace is made", contains("ready"))

	pid, outside := strconv.Itoa(cmd.Process.Pid), "v"+strings.ReplaceAll(task.Address(), ".", "")
	inside := "nsenter -n -t " + pid + " "
	mustRun(t, "ip link add "+outside+" type veth peer name eth1 netns "+pid)
	mustRun(t, "ip link set "+outside+" master br0 up")
	mustRun(t, inside+"ip addr add "+task.Address()+"/24 dev eth1")
	mustRun(t, inside+"ip link set eth1 up")
	mustRun(t, inside+"ip link set lo up")
	if _, err := io.WriteString(stdin, "\n"); err != nil {
		t.Fatal(err)
	}
	p.await(10*time.Second, "the node is up", contains(`msg="node is up"`))
	return p
}

// checkAll does for a while what ECS does for ever.
func checkAll(t *testing.T, ips ...string) {
	t.Helper()
	for range 6 { // Send takes turns: each task gets some, from each other
		for _, ip := range ips {
			getHealth(t, ip)
		}
	}
}

// getHealth waits for the task to listen.
func getHealth(t *testing.T, ip string) {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		resp, err := client.Get("http://" + ip + ":8080/health")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no good answer from %s: %v", ip, err)
		}
	}
}

func command(line string) *exec.Cmd {
	args := strings.Fields(line)
	return exec.Command(args[0], args[1:]...)
}

func mustRun(t *testing.T, line string) {
	t.Helper()
	if out, err := command(line).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
}
