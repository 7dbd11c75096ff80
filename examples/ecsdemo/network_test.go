package main

import (
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Set in the process that has networks of its own to play with: the path of the
// program, and the address family of the tasks.
const (
	insideVariable = "ECSDEMO_INSIDE"
	familyVariable = "ECSDEMO_FAMILY"
)

// TestTasksWithNetworksOfTheirOwn gives each task the network that it has in
// awsvpc mode on an EC2 instance, and only version 2 of the metadata endpoint,
// which knows a task by the address it calls from. The program needs no
// argument there. It needs Linux and the right to make namespaces.
func TestTasksWithNetworksOfTheirOwn(t *testing.T) {
	switch family := os.Getenv(familyVariable); {
	case os.Getenv(insideVariable) == "":
		heavy(t)
		t.Run("IPv4", func(t *testing.T) { runInside(t, "4") })
		t.Run("IPv6", func(t *testing.T) { runInside(t, "6") })
	case family == "6":
		testLeavingInNetworks(t)
	default:
		testReplacementWithADeadTasksIP(t)
	}
}

// runInside runs the test again in a network namespace, with which all that it
// makes there goes.
func runInside(t *testing.T, family string) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("it needs Linux's namespaces")
	}
	if out, err := shell("nsenter --version").CombinedOutput(); err != nil {
		t.Skipf("nsenter: %v: %s", err, out)
	}
	for _, unshare := range []string{"unshare -Urn ", "unshare -n "} { // as any user; as root, where users make no namespaces
		out, err := shell(unshare + "ip link add br0 type bridge").CombinedOutput()
		if err != nil {
			t.Logf("%sip link add: %v: %s", unshare, err, out)
			continue
		}
		cmd := shell(unshare + os.Args[0] + " -test.timeout=90s -test.run=^TestTasksWithNetworksOfTheirOwn$")
		cmd.Env = append(os.Environ(), insideVariable+"="+binary, familyVariable+"="+family)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	t.Skip("no right to make networks")
}

// testLeavingInNetworks has tasks without an IPv4 address in the VPC.
func testLeavingInNetworks(t *testing.T) {
	v := newVPC(t, "fd00:77::")
	all := []*netTask{v.launch("11"), v.launch("12"), v.launch("13")}
	v.meet(all...)
	testDoctorInNetworks(v, all)
	all[0].stopGracefully()
	checkAll(t, all[1:]...)
	for _, task := range all[1:] {
		task.stopGracefully()
	}
	for _, task := range all {
		if out := task.output(); !strings.Contains(out, " failed=0 ") || !strings.Contains(out, "bus.unknown=0 bus.deadletters=0") {
			t.Errorf("%s failed to send, or lost, messages", task.ip)
		}
	}
}

// testDoctorInNetworks examines a task, and again when the network of another
// lets only TCP pass.
func testDoctorInNetworks(v *vpc, all []*netTask) {
	passes := func(task *netTask) [2]string {
		return [2]string{"ok    " + net.JoinHostPort(task.ip, "7946"), "TCP (a link) and UDP (gossip) pass"}
	}
	says(v.t, all[0].doctor(0),
		[2]string{"ok    address", all[0].ip + ", on interface eth1"},
		[2]string{"ok    tasks", "2 others listed, this one too; 2 peers: "}, passes(all[1]), passes(all[2]))

	const rule = "ip -6 rule add ipproto udp blackhole"
	if out, err := all[1].inside(rule).CombinedOutput(); err != nil {
		v.t.Logf("%s: %v: %s", rule, err, out) // not every kernel has such rules
		return
	}
	says(v.t, all[0].doctor(1),
		[2]string{"FAIL  " + net.JoinHostPort(all[1].ip, "7946"), "TCP passes, UDP does not"}, passes(all[2]))
	if out, err := all[1].inside(strings.Replace(rule, "add", "del", 1)).CombinedOutput(); err != nil {
		v.t.Fatalf("%v: %s", err, out)
	}
}

// testReplacementWithADeadTasksIP kills a task. ECS gives its IP to the one that
// replaces it, while the others still believe the dead one to have it.
func testReplacementWithADeadTasksIP(t *testing.T) {
	v := newVPC(t, "10.0.1.")
	a, b, dead := v.launch("11"), v.launch("12"), v.launch("13")
	v.meet(a, b, dead)

	v.kill(dead)
	replacement := v.launch("13")
	for _, other := range []*netTask{a, b} {
		other.await(10*time.Second, "it has a link to the replacement", logged("link is up", replacement))
		before := len(other.output())
		v.check("the survivors receive the replacement's IP, and it theirs", func() bool {
			return strings.Contains(other.output()[before:], "received="+replacement.ip) && met(0, replacement.ip)(replacement.output())
		}, a, b, replacement)
		// The replacement gets the probes that are meant for the dead one, and must not answer.
		other.await(15*time.Second, "it finds out that the other is dead", logged("member failed", dead))
		for _, wrong := range []string{"member failed", "link broke", "member left"} {
			if logged(wrong, replacement)(other.output()) {
				t.Errorf("%s confuses the replacement with the dead task: %s", other.ip, wrong)
			}
		}
	}
	for _, task := range []*netTask{a, b, replacement} {
		task.stopGracefully()
	}
}

// logged reports whether a line with this message is about the task.
func logged(message string, about *netTask) func(string) bool {
	return func(output string) bool {
		for line := range strings.Lines(output) {
			if strings.Contains(line, `msg="`+message+`"`) && strings.Contains(line, "peer="+about.ecs.ID()) {
				return true
			}
		}
		return false
	}
}

// meet waits until each task has received the IPs of others on both verticles,
// the published ones over gossip, and says where it is reached.
func (v *vpc) meet(all ...*netTask) {
	v.t.Helper()
	for _, task := range all {
		task.await(10*time.Second, "it advertises the address of its network interface",
			contains("address="+net.JoinHostPort(task.ip, "7946")))
		v.check(task.ip+" receives the IPs of others", func() bool { return met(0, task.ip)(task.output()) }, all...)
		if out := task.output(); strings.Contains(out, "169.254.") || !strings.Contains(out, "via=gossip") || !strings.Contains(out, "via=link") {
			v.t.Errorf("%s shows a link-local address, or nothing that came over gossip and over a link", task.ip)
		}
	}
}

// check checks the tasks' health, by which they send, until the condition holds.
func (v *vpc) check(what string, condition func() bool, all ...*netTask) {
	v.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); checkAll(v.t, all...) {
		if time.Now().After(deadline) {
			v.t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// checkAll does once what ECS does for ever.
func checkAll(t *testing.T, all ...*netTask) {
	t.Helper()
	for _, task := range all {
		getHealth(t, task.ip)
	}
}

func (task *netTask) stopGracefully() {
	task.t.Helper()
	task.ecs.SetStatus("DEACTIVATING")
	if code := task.stop(syscall.SIGTERM); code != 0 {
		task.t.Errorf("exit code %d", code)
	}
	task.ecs.Stop()
}

// getHealth waits for the task to listen.
func getHealth(t *testing.T, ip string) {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		resp, err := client.Get("http://" + net.JoinHostPort(ip, "8080") + "/health")
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
