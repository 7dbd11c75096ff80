package main

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
	"github.com/runrig-go/runrig/examples/ecsdemo/leases"
	"github.com/runrig-go/runrig/verticle/lease"
)

// secretSetting is what ECS puts into the environment for the task definition.
const secretSetting = "RUNRIG_SECRET=0123456789abcdef0123456789abcdef0123456789abcdef"

// ward is a fake of ECS with tasks at loopback addresses, some of which run.
type ward struct {
	t    *testing.T
	fake *ecstest.Fake
}

func newWard(t *testing.T) ward { return ward{t, newFake(t)} }

// task adds a task, and runs it if it is to run.
func (w ward) task(ip, status string, run bool) *ecstest.Task {
	w.t.Helper()
	task, err := w.fake.AddTask(ecstest.TaskConfig{Cluster: "prod", Service: "ecsdemo", Address: ip, Status: status})
	if err != nil {
		w.t.Fatal(err)
	}
	if run {
		if !isFree(ip + ":7946") {
			w.t.Skipf("this system has no address %s, or its port 7946 is taken", ip)
		}
		start(w.t, append(task.Env(), secretSetting), w.flags(task)...).await(10*time.Second, "the node is up", contains(`msg="node is up"`))
		getHealth(w.t, ip)
	}
	return task
}

func (w ward) flags(task *ecstest.Task) []string {
	return []string{"-bind", task.Address() + ":7946", "-http", task.Address() + ":8080"}
}

// doctor runs the doctor in a task and checks its exit code.
func (w ward) doctor(task *ecstest.Task, code int) string {
	w.t.Helper()
	p := start(w.t, append(task.Env(), secretSetting), append([]string{"doctor"}, w.flags(task)...)...)
	if got := p.wait(); got != code {
		w.t.Errorf("exit code %d, want %d:\n%s", got, code, p.output())
	}
	return p.output()
}

// says checks that the output has lines that begin and go on like this.
func says(t *testing.T, output string, lines ...[2]string) {
	t.Helper()
	for _, want := range lines {
		if !slices.ContainsFunc(strings.Split(output, "\n"), func(line string) bool {
			return strings.HasPrefix(line, want[0]) && strings.Contains(line, want[1])
		}) {
			t.Errorf("no line begins with %q and has %q:\n%s", want[0], want[1], output)
		}
	}
}

func TestDoctorOfHealthyTasks(t *testing.T) {
	heavy(t)
	w := newWard(t)
	a, _ := w.task("127.77.1.1", "RUNNING", true), w.task("127.77.1.2", "RUNNING", true)
	says(t, w.doctor(a, 0),
		[2]string{"ok    metadata", a.ID()},
		[2]string{"ok    address", "127.77.1.1, on interface lo"},
		[2]string{"ok    secret", ""},
		[2]string{"ok    permissions", ""},
		[2]string{"ok    tasks", "1 others listed, this one too; 1 peers: 127.77.1.2:7946"},
		[2]string{"ok    node", "the program that serves at 127.77.1.1:8080 has node " + a.ID()},
		[2]string{"ok    127.77.1.2:7946", "TCP (a link) and UDP (gossip) pass"})

	// The doctor is the only program of a task that belongs to no service.
	alone, err := w.fake.AddTask(ecstest.TaskConfig{Cluster: "prod", Family: "ecsdemo", Address: "127.77.1.3"})
	if err != nil {
		t.Fatal(err)
	}
	says(t, w.doctor(alone, 0),
		[2]string{"ok    node", "nothing serves at 127.77.1.3:8080; node " + alone.ID()},
		[2]string{"ok    127.77.1.1:7946", "pass"},
		[2]string{"ok    127.77.1.2:7946", "pass"})
}

func TestDoctorFindsPeersThatAreNotReached(t *testing.T) {
	heavy(t)
	w := newWard(t)
	a := w.task("127.77.2.1", "RUNNING", true)
	w.task("127.77.2.2", "RUNNING", false)
	w.task("127.77.2.3", "RUNNING", false)
	l, err := net.Listen("tcp", "127.77.2.3:7946") // another program
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { l.Close() })
	early := w.task("127.77.2.4", "PROVISIONING", false)
	says(t, w.doctor(a, 1),
		[2]string{"ok    tasks", "3 others listed, this one too; 2 peers: "},
		[2]string{"ok    tasks", "; 1 left out: it has no address yet"},
		[2]string{"      ", "task=" + early.ID() + ` reason="it has no address yet"`},
		[2]string{"FAIL  127.77.2.2:7946", "TCP does not pass: nothing listens there"},
		[2]string{"FAIL  127.77.2.3:7946", "something accepts TCP, but there is no link"},
		[2]string{"ecsdemo: something is wrong", ""})
}

func TestDoctorFindsWhatIsMissing(t *testing.T) {
	heavy(t)
	t.Run("permission", func(t *testing.T) {
		t.Parallel()
		w := newWard(t)
		w.fake.Inject(ecstest.AccessDenied("ListTasks"))
		says(t, w.doctor(w.task("127.77.3.1", "RUNNING", false), 1),
			[2]string{"ok    address", "127.77.3.1"},
			[2]string{"FAIL  permissions", "the task role (taskRoleArn of the task definition, not the execution role) must allow ecs:ListTasks and ecs:DescribeTasks"},
			[2]string{"      ", "attach this policy to it"})
	})
	t.Run("service", func(t *testing.T) {
		t.Parallel()
		w := newWard(t)
		w.fake.Inject(ecstest.Fault{Action: "ListTasks", Type: "ServiceNotFoundException", Message: "Service not found."})
		says(t, w.doctor(w.task("127.77.3.2", "RUNNING", false), 1), [2]string{"FAIL  tasks", "service not found"})
	})
	t.Run("port mapping", func(t *testing.T) {
		t.Parallel()
		w := newWard(t)
		bridge := func(ip string, ports ...ecstest.PortMapping) *ecstest.Task {
			task, err := w.fake.AddTask(ecstest.TaskConfig{Cluster: "prod", Service: "ecsdemo", Address: ip, NetworkMode: "bridge", Ports: ports})
			if err != nil {
				t.Fatal(err)
			}
			return task
		}
		own := bridge("127.77.3.3", ecstest.PortMapping{ContainerPort: 7946, HostPort: 7946})
		bridge("127.77.3.4", ecstest.PortMapping{ContainerPort: 7946, HostPort: 32768, Protocol: "tcp"}, ecstest.PortMapping{ContainerPort: 7946, HostPort: 32801, Protocol: "udp"})
		says(t, w.doctor(own, 1),
			[2]string{"ok    permissions", ""},
			[2]string{"FAIL  tasks", "1 others listed, this one too; 0 peers; 1 left out: it cannot be reached: "},
			[2]string{"FAIL  tasks", "host port 32768 for tcp but 32801 for udp"})
	})
	t.Run("address", func(t *testing.T) {
		t.Parallel()
		w := newWard(t)
		says(t, w.doctor(w.task("203.0.113.7", "RUNNING", false), 1), [2]string{"FAIL  address", "the metadata tells 203.0.113.7, which no interface has"})
	})
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"ECS":      {nil, "ecs: not on Amazon ECS"},
		"metadata": {[]string{"ECS_CONTAINER_METADATA_URI_V4=http://" + freeAddr(t) + "/v4/x"}, "(from ECS_CONTAINER_METADATA_URI_V4) failed 3 times"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, c.env, "doctor")
			if code := p.wait(); code != 1 {
				t.Errorf("exit code %d", code)
			}
			says(t, p.output(), [2]string{"FAIL  metadata", c.want})
		})
	}
}

func TestDoctorOnLeases(t *testing.T) {
	t.Parallel()
	url, stop, err := leases.Serve(new(lease.Memory))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	w := newWard(t)
	task := w.task("127.77.5.1", "RUNNING", false)
	for name, want := range map[string][2]string{
		url:      {"ok    leases", "can be read and written"},
		"leases": {"FAIL  leases", "this build knows no tables"},
	} {
		p := start(t, append(task.Env(), "RUNRIG_LEASES="+name), append([]string{"doctor"}, w.flags(task)...)...)
		_ = p.wait() // there is no secret
		says(t, p.output(), want)
	}
}

func TestDoctorWithoutASecret(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	task := w.task("127.77.4.1", "RUNNING", false)
	p := start(t, task.Env(), append([]string{"doctor"}, w.flags(task)...)...)
	if code := p.wait(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	says(t, p.output(), [2]string{"FAIL  secret", "RUNRIG_SECRET is not set; name it under secrets"}, [2]string{"FAIL  node", "RUNRIG_SECRET"})
}
