package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// vpc is what is around tasks in awsvpc mode on an EC2 instance, in this
// process's network namespace: the VPC (bridge br0), and the bridge of the ECS
// agent (br1), where the metadata endpoint is at its real address.
type vpc struct {
	t      *testing.T
	prefix string // of the addresses of the VPC
	fake   *ecstest.Fake
	n      int // tasks so far

	mu    sync.Mutex
	owner map[string]string // by its address at br1, a task's address in the VPC
}

// netTask is a task with a network of its own.
type netTask struct {
	*process
	ip  string
	ecs *ecstest.Task
}

func newVPC(t *testing.T, prefix string) *vpc {
	t.Helper()
	v := &vpc{t: t, prefix: prefix, owner: map[string]string{}}
	for _, bridge := range []string{"br0", "br1"} {
		mustRun(t, "ip link add "+bridge+" type bridge")
		mustRun(t, "ip link set "+bridge+" up")
	}
	mustRun(t, "ip addr add "+v.subnet("1")+" dev br0"+v.addressFlags())
	mustRun(t, "ip addr add 169.254.172.1/22 dev br1")
	mustRun(t, "ip addr add 169.254.170.2/32 dev br1")
	mustRun(t, "ip link set lo up")

	fake, err := ecstest.New(ecstest.Config{Listen: net.JoinHostPort(prefix+"1", "0")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fake.Close() })
	v.fake = fake
	l, err := net.Listen("tcp", "169.254.170.2:80")
	if err != nil {
		t.Fatal(err)
	}
	agent := &http.Server{Handler: http.HandlerFunc(v.serveMetadata)}
	served := make(chan struct{})
	go func() { // until it is closed
		defer close(served)
		_ = agent.Serve(l)
	}()
	t.Cleanup(func() { agent.Close(); <-served })
	return v
}

func (v *vpc) isIPv6() bool { return strings.Contains(v.prefix, ":") }

// subnet is the address with this last part, and the length of its prefix.
func (v *vpc) subnet(last string) string {
	if v.isIPv6() {
		return v.prefix + last + "/64"
	}
	return v.prefix + last + "/24"
}

// addressFlags are for ip addr add: an IPv6 address is to be used at once.
func (v *vpc) addressFlags() string {
	if v.isIPv6() {
		return " nodad"
	}
	return ""
}

// serveMetadata is the agent: a task calls it from its address at br1, which
// the agent knows to be that task's.
func (v *vpc) serveMetadata(w http.ResponseWriter, r *http.Request) {
	from, port, _ := net.SplitHostPort(r.RemoteAddr)
	v.mu.Lock()
	owner, ok := v.owner[from]
	v.mu.Unlock()
	if !ok || !strings.HasPrefix(r.URL.Path, "/v2/") {
		v.t.Errorf("%s asks for %s", r.RemoteAddr, r.URL)
		http.NotFound(w, r)
		return
	}
	r = r.Clone(r.Context())
	r.RemoteAddr = net.JoinHostPort(owner, port)
	v.fake.ServeHTTP(w, r)
}

// launch starts a task at the address with this last part. It ends with this
// process, too, as its standard input does.
func (v *vpc) launch(last string) *netTask {
	v.t.Helper()
	task, err := v.fake.AddTask(ecstest.TaskConfig{
		Cluster: "prod", Service: "ecsdemo", Address: v.prefix + last, LaunchType: "EC2", MetadataVersion: 2,
	})
	if err != nil {
		v.t.Fatal(err)
	}
	v.mu.Lock()
	v.owner["169.254.172."+last] = task.Address()
	v.mu.Unlock()
	cmd := exec.Command("unshare", "-n", "sh", "-c", `echo ready; read go; exec "$0" -gossip -rehearsed`, os.Getenv(insideVariable))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	p := startCommand(v.t, cmd, append(task.Env(), secretSetting))
	p.await(5*time.Second, "its namespace is made", contains("ready"))
	v.connect(strconv.Itoa(cmd.Process.Pid), last)
	if _, err := io.WriteString(stdin, "\n"); err != nil {
		v.t.Fatal(err)
	}
	p.await(10*time.Second, "the node is up", contains(`msg="node is up"`))
	return &netTask{p, task.Address(), task}
}

// inside is a command in the task's network.
func (task *netTask) inside(line string) *exec.Cmd {
	return shell("nsenter -n -t " + strconv.Itoa(task.cmd.Process.Pid) + " " + line)
}

// doctor examines the task from inside and checks the exit code.
func (task *netTask) doctor(code int) string {
	task.t.Helper()
	p := startCommand(task.t, task.inside(os.Getenv(insideVariable)+" doctor"), append(task.ecs.Env(), secretSetting))
	if got := p.wait(); got != code {
		task.t.Errorf("exit code %d, want %d:\n%s", got, code, p.output())
	}
	return p.output()
}

// connect gives the process the two interfaces that a task has: the link-local
// one comes first, and has the route to the metadata endpoint only.
func (v *vpc) connect(pid, last string) {
	v.t.Helper()
	v.n++
	for _, i := range []struct{ bridge, outside, inside string }{
		{"br1", fmt.Sprintf("ecs%d", v.n), "ecs-eth0"},
		{"br0", fmt.Sprintf("eni%d", v.n), "eth1"},
	} {
		mustRun(v.t, "ip link add "+i.outside+" type veth peer name "+i.inside+" netns "+pid)
		mustRun(v.t, "ip link set "+i.outside+" master "+i.bridge+" up")
	}
	for _, line := range []string{
		"link set lo up",
		"addr add 169.254.172." + last + "/22 dev ecs-eth0",
		"link set ecs-eth0 up",
		"route add 169.254.170.2 via 169.254.172.1 dev ecs-eth0",
		"addr add " + v.subnet(last) + " dev eth1" + v.addressFlags(),
		"link set eth1 up",
		"route add default via " + v.prefix + "1 dev eth1",
	} {
		mustRun(v.t, "nsenter -n -t "+pid+" ip "+line)
	}
}

// kill kills the task, and returns when its network is gone and its address free.
func (v *vpc) kill(task *netTask) {
	v.t.Helper()
	if err := task.cmd.Process.Kill(); err != nil {
		v.t.Fatal(err)
	}
	task.wait()
	task.ecs.Stop()
}

func shell(line string) *exec.Cmd {
	args := strings.Fields(line)
	return exec.Command(args[0], args[1:]...)
}

func mustRun(t *testing.T, line string) {
	t.Helper()
	if out, err := shell(line).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
}
