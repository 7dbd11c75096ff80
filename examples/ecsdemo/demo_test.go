package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/runrig-go/runrig/examples/internal/long"
)

// binary is the program, built once.
var binary string

func TestMain(m *testing.M) {
	if os.Getenv(insideVariable) != "" {
		os.Exit(m.Run())
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ecsdemo")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "ecsdemo")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// process is the program, running.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{} // closed when its output has ended

	mu      sync.Mutex
	lines   []string
	changed chan struct{} // closed and replaced with each line
}

// start runs the program with nothing in its environment but env.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	return startCommand(t, exec.Command(binary, args...), env)
}

func startCommand(t *testing.T, cmd *exec.Cmd, env []string) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan struct{}), changed: make(chan struct{})}
	p.cmd.Env = append([]string{"SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}, env...)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // until the process and its children have closed the pipe
		defer close(p.done)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, s.Text())
			close(p.changed)
			p.changed = make(chan struct{})
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("output of %v:\n%s", p.cmd.Args, p.output())
		}
	})
	return p
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n") + "\n"
}

// await waits until the output satisfies the condition.
func (p *process) await(within time.Duration, what string, condition func(output string) bool) {
	p.t.Helper()
	timeout := time.After(within)
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		if condition(p.output()) {
			return
		}
		select {
		case <-changed:
		case <-p.done:
			if !condition(p.output()) {
				p.t.Fatalf("it ended without: %s", what)
			}
			return
		case <-timeout:
			p.t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// stop sends the signal and returns the exit code.
func (p *process) stop(sig os.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	return p.wait()
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.t.Fatal("it does not end")
	}
	if err := p.cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		p.t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

var (
	startedLine  = regexp.MustCompile(`(?m)^rehearsal +\| (task-\d+) started at (\S+), pid (\d+)$`)
	receivedLine = regexp.MustCompile(`(?m)^(?:task-\d+ +\| )?time=.* msg=received verticle=(\w+) local=(\S+) received=(\S+) via=(\w+) n=\d+$`)
)

// rehearsed is a task of the rehearsal.
type rehearsed struct {
	name, ip string
	pid      int
}

// tasks are those that the rehearsal says it started.
func tasks(output string) (all []rehearsed) {
	for _, m := range startedLine.FindAllStringSubmatch(output, -1) {
		pid, _ := strconv.Atoi(m[3])
		all = append(all, rehearsed{m[1], m[2], pid})
	}
	return all
}

// met reports whether each of n tasks, or the tasks with these IPs, has on both
// verticles received another task's IP over the network.
func met(n int, ips ...string) func(string) bool {
	return func(output string) bool {
		got := map[[2]string]bool{}
		for _, m := range receivedLine.FindAllStringSubmatch(output, -1) {
			if verticle, local, received, via := m[1], m[2], m[3], m[4]; local != received && via != "local" {
				got[[2]string{verticle, local}] = true
			}
		}
		for _, ip := range ips {
			if !got[[2]string{"PointVerticle", ip}] || !got[[2]string{"BroadcastVerticle", ip}] {
				return false
			}
		}
		return len(got) >= 2*n
	}
}

func signalTask(t *testing.T, pid int, sig os.Signal) {
	t.Helper()
	task, err := os.FindProcess(pid)
	if err == nil {
		err = task.Signal(sig)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// rows returns the cells of all rows that begin with this head.
func rows(output, head string) (cells [][]string) {
	for line := range strings.Lines(output) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == head {
			cells = append(cells, f[1:])
		}
	}
	return cells
}

func allZero(rows [][]string) bool {
	for _, row := range rows {
		for _, cell := range row {
			if cell != "0" {
				return false
			}
		}
	}
	return len(rows) > 0
}

func heavy(t *testing.T) {
	t.Helper()
	long.Only(t, "it runs a rehearsal for some seconds")
	t.Parallel()
}

func TestThreeTasksTalkAndOneLeaves(t *testing.T) {
	heavy(t)
	user := []string{"AWS_PROFILE=prod", "AWS_REGION=mars-1", "AWS_ENDPOINT_URL=http://127.0.0.1:1"} // no task sees it
	p := start(t, user)
	p.await(10*time.Second, "three tasks receive the IPs of others", met(3))
	if !strings.Contains(p.output(), "Look for lines whose received=") {
		t.Error("it does not say what will be seen")
	}
	first := tasks(p.output())[0]
	signalTask(t, first.pid, syscall.SIGTERM) // by hand, as by ECS
	p.await(5*time.Second, "the task leaves", contains(first.name+" ended: left"))
	p.await(10*time.Second, "its replacement receives the IPs of others", func(output string) bool {
		all := tasks(output)
		return len(all) == 4 && met(0, all[3].ip)(output)
	})
	if code := p.stop(os.Interrupt); code != 0 {
		t.Errorf("exit code %d", code)
	}
	out := p.output()
	if !allZero(rows(out, "lost")) || !allZero(rows(out, "failed")) || !strings.Contains(out, "all that was sent is accounted for") {
		t.Error("messages were lost, or failed, or not counted")
	}
	if all := tasks(out); all[3].ip == first.ip {
		t.Errorf("the replacement has the IP of the task that left, %s", first.ip)
	}
}

// TestDeployment replaces all tasks under load.
func TestDeployment(t *testing.T) {
	heavy(t)
	begun := time.Now()
	p := start(t, nil, "-deploy")
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(begun); took > 45*time.Second {
		t.Errorf("it took %v, of 45 s", took)
	}
	out := p.output()
	if all := tasks(out); len(all) != 6 {
		t.Errorf("%d tasks were started, want 6", len(all))
	}
	if before, _, _ := strings.Cut(out, "stopping 3 tasks"); strings.Count(before, "msg=counting ") != 2 {
		t.Error("health checks were not counted at one task, and from when it left on at another")
	}
	for _, kind := range []string{"send", "request"} {
		row := rows(out, kind)
		if len(row) != 1 || len(row[0]) != 4 {
			t.Fatalf("no row of the table for %s: %q", kind, row)
		}
		sent, handled, failed, lost := row[0][0], row[0][1], row[0][2], row[0][3]
		if n, _ := strconv.Atoi(sent); n < 200 || handled != sent || failed != "0" || lost != "0" {
			t.Errorf("%s: %s sent, %s handled, %s failed, %s lost", kind, sent, handled, failed, lost)
		}
	}
}

func contains(text string) func(string) bool {
	return func(output string) bool { return strings.Contains(output, text) }
}

// TestCounterMoves kills the task that counts health checks: another does, after the
// ttl of the lease, with a higher fence.
func TestCounterMoves(t *testing.T) {
	heavy(t)
	p := start(t, nil)
	counts := regexp.MustCompile(`msg=counted verticle=CounterVerticle local=(\S+) fence=1 checks=\d+`)
	p.await(20*time.Second, "a task counts", counts.MatchString)
	at := counts.FindStringSubmatch(p.output())[1]
	for _, task := range tasks(p.output()) {
		if task.ip == at {
			signalTask(t, task.pid, os.Kill)
		}
	}
	p.await(20*time.Second, "another counts", contains(" fence=2 checks="))
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestKilledTaskIsReplacedAndLeftAlone(t *testing.T) {
	heavy(t)
	p := start(t, nil)
	p.await(10*time.Second, "three tasks receive the IPs of others", met(3))
	dead := tasks(p.output())[1]
	signalTask(t, dead.pid, os.Kill)
	p.await(5*time.Second, "the rehearsal sees it", contains(dead.name+" ended: signal: killed"))
	p.await(10*time.Second, "a replacement receives the IPs of others", func(output string) bool {
		all := tasks(output)
		return len(all) == 4 && met(0, all[3].ip)(output)
	})
	p.await(10*time.Second, "the others go on", func(output string) bool {
		_, after, _ := strings.Cut(output, dead.name+" ended:")
		live := tasks(output)
		return strings.Count(after, "local="+live[0].ip) >= 12 && strings.Count(after, "local="+live[2].ip) >= 12
	})
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	checkBusCounters(t, p.output(), dead)
}

// checkBusCounters checks that each surviving bus knows what became of all
// that it sent, and that it sent to the dead task, if anything, only what was
// under way when the link broke, which is then unknown: one Send, which is lost, and one
// copy of a Publish. If the task counted health checks, a second copy and the question
// that the lease of who stands by keeps open at the holder are, too. It went on for
// several seconds after, with one of each every second; what is sent to nobody is neither
// settled nor received.
func checkBusCounters(t *testing.T, output string, dead rehearsed) {
	t.Helper()
	all := tasks(output)
	_, table, _ := strings.Cut(output, "The buses' own counters")
	counters := map[string][]string{}
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 2 {
			counters[f[0]] = f[2:] // behind name and address
		}
	}
	for i, task := range all {
		if task == dead {
			continue
		}
		var sent, settled, bounced, unknown uint64
		if _, err := fmt.Sscan(strings.Join(counters[task.name], " "), &sent, &settled, &bounced, &unknown); err != nil {
			t.Fatalf("counters of %s: %q: %v", task.name, counters[task.name], err)
		}
		if sent == 0 || sent != settled+bounced+unknown || unknown > 4 {
			t.Errorf("%s: %d sent, %d settled, %d bounced, %d unknown", task.name, sent, settled, bounced, unknown)
		}
		if lost := rows(output, "lost"); !slices.Contains([]string{"0", "1"}, lost[0][i]) || lost[1][i] != "0" {
			t.Errorf("%s lost %s sends and %s copies of publishes", task.name, lost[0][i], lost[1][i])
		}
	}
}

func TestGossipLane(t *testing.T) {
	heavy(t)
	p := start(t, nil, "-gossip", "-tasks", "2")
	p.await(15*time.Second, "a publish comes over gossip", func(output string) bool {
		return met(2)(output) && regexp.MustCompile(`verticle=BroadcastVerticle .* via=gossip`).MatchString(output)
	})
	if code := p.stop(os.Interrupt); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestBridgeMode(t *testing.T) {
	heavy(t)
	p := start(t, nil, "-bridge", "-tasks", "2")
	p.await(15*time.Second, "two tasks at one IP receive each other's address", met(2))
	if code := p.stop(os.Interrupt); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestTasksDieWithTheRehearsal takes the rehearsal away in a way in which it can
// stop nothing.
func TestTasksDieWithTheRehearsal(t *testing.T) {
	heavy(t)
	p := start(t, nil, "-tasks", "2")
	p.await(10*time.Second, "two tasks are up", met(2))
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, task := range tasks(p.output()) {
		for !ended(task.pid) {
			if <-tick.C; time.Now().After(deadline) {
				t.Fatalf("%s, pid %d, still runs", task.name, task.pid)
			}
		}
	}
}

// ended reports whether there is no such process any more, or only what is left
// of one that nobody waited for.
func ended(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil || p.Signal(syscall.Signal(0)) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // Linux
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func TestPeers(t *testing.T) {
	heavy(t)
	peers := freeAddr(t) + "," + freeAddr(t)
	var both []*process
	for bind := range strings.SplitSeq(peers, ",") {
		both = append(both, start(t, nil, "-peers", peers, "-bind", bind, "-http", freeAddr(t)))
	}
	for _, p := range both {
		p.await(10*time.Second, "it receives the other's address", met(1))
	}
	for _, p := range both {
		if code := p.stop(os.Interrupt); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"an unknown flag":            {[]string{"-nodes", "3"}, 2, "not defined: -nodes"},
		"an unexpected argument":     {[]string{"3"}, 2, `unexpected argument "3"`},
		"no tasks":                   {[]string{"-tasks", "0"}, 1, "-tasks is 0"},
		"a wrong peer":               {[]string{"-peers", "10.0.0.7", "-bind", "127.0.0.1:0"}, 1, "-peers: discovery: static address \"10.0.0.7\""},
		"a bind others can reach":    {[]string{"-peers", "127.0.0.1:7946", "-bind", "0.0.0.0:0"}, 1, "Secrets"},
		"nobody answers the check":   {[]string{"healthcheck", "-http", freeAddr(t)}, 1, "refused"},
		"a check without an address": {[]string{"healthcheck", "-http", "8080"}, 1, "-http 8080"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, nil, c.args...)
			if code := p.wait(); code != c.code || !strings.Contains(p.output(), c.says) {
				t.Errorf("exit code %d, want %d and %q", code, c.code, c.says)
			}
		})
	}
}
