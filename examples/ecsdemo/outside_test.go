package main

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inviteLine is what the rehearsal says of how to look at its tasks.
var inviteLine = regexp.MustCompile(`(?m)^rehearsal +\| look at them .*: go run \./cluster/runrig members (-secret-file \S+ -node \S+)$`)

// outsider looks at the tasks of a rehearsal from outside, with the command that the
// demo has in its own binary.
type outsider struct {
	t    *testing.T
	args []string
}

func (o outsider) command(args ...string) []string {
	return append(append([]string{"runrig"}, args...), o.args...)
}

// look runs a verb and returns its exit code and output.
func (o outsider) look(args ...string) (int, string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, o.command(args...)...)
	cmd.Env = []string{"SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}
	out, _ := cmd.CombinedOutput() // the code says
	return cmd.ProcessState.ExitCode(), string(out)
}

// await looks until the output satisfies the condition.
func (o outsider) await(within time.Duration, what string, condition func(code int, out string) bool, args ...string) {
	o.t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		code, out := o.look(args...)
		if condition(code, out) {
			return
		}
		if <-tick.C; time.Now().After(deadline) {
			o.t.Fatalf("not within %v: %s; %v has code %d and says:\n%s", within, what, args, code, out)
		}
	}
}

// pageLine is the link to the page that the rehearsal serves.
var pageLine = regexp.MustCompile(`(?m)^rehearsal +\| see them in a browser: (http://\S+/)$`)

// A page is what a browser would show of the tasks.
type page struct {
	t   *testing.T
	url string
}

func pageOf(t *testing.T, p *process) page {
	t.Helper()
	m := pageLine.FindStringSubmatch(p.output())
	if m == nil {
		t.Fatal("it prints no link to its page")
	}
	return page{t, m[1]}
}

// shows waits until a state of the cluster has all texts.
func (p page) shows(texts ...string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"stream", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	line := ""
	for in := bufio.NewReader(resp.Body); err == nil; {
		if line, err = in.ReadString('\n'); containsAll(line, texts) {
			return
		}
	}
	p.t.Errorf("the page does not show %q: %v; its last line: %s", texts, err, line)
}

// TestSeenFromOutside: with the line that the demo prints, another terminal sees its
// tasks, and what happens when one is killed.
func TestSeenFromOutside(t *testing.T) {
	heavy(t)
	p := start(t, nil)
	p.await(20*time.Second, "it says how to look at the tasks", func(output string) bool { return inviteLine.MatchString(output) })
	o := outsider{t, strings.Fields(inviteLine.FindStringSubmatch(p.output())[1])}
	all := tasks(p.output())
	for _, c := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"members"}, 0, []string{all[0].ip, all[1].ip, all[2].ip, "alive", "ready"}},
		{[]string{"report", "verticles"}, 0, []string{"HTTPVerticle", "PointVerticle", "BroadcastVerticle", "running"}},
		{[]string{"report", "links"}, 0, []string{all[1].ip}},
		{[]string{"top", "-n", "1"}, 0, []string{"3 nodes, 0 missing", "ecsdemo.point"}},
		{[]string{"rtt"}, 0, []string{"alive", "up"}},
		{[]string{"doctor"}, 0, []string{"TCP (a link) and UDP (gossip) pass"}},
		{[]string{"req", "nobody"}, 1, []string{`no consumer of "nobody"`}},
		{[]string{"check", "-min", "3"}, 0, []string{"ok: 3 nodes alive"}},
	} {
		if code, out := o.look(c.args...); code != c.code || !containsAll(out, c.says) {
			t.Errorf("%v: code %d, want %d and %q:\n%s", c.args, code, c.code, c.says, out)
		}
	}
	secret, err := os.ReadFile(o.args[1])
	if err != nil || strings.Contains(p.output(), strings.TrimSpace(string(secret))) {
		t.Errorf("the secret is in the output, or not in its file: %v", err)
	}

	pageOf(t, p).shows(`"alive":3`, all[2].ip)

	monitor := start(t, nil, o.command("monitor")...)
	monitor.await(10*time.Second, "monitor runs", contains("linked"))
	dead := all[0] // to which all of the above were attached
	signalTask(t, dead.pid, os.Kill)
	monitor.await(5*time.Second, "monitor shows the death", func(output string) bool {
		return regexp.MustCompile(`failed +\S+-[0-9a-f]{16}`).MatchString(output)
	})
	o.await(10*time.Second, "check is content when the replacement is in", func(code int, out string) bool {
		return code == 0 && strings.Contains(out, "ok: 3 nodes alive, 3 have answered")
	}, "check", "-min", "3")
	monitor.await(5*time.Second, "monitor shows the replacement", func(output string) bool {
		_, after, _ := strings.Cut(output, "looking for another node")
		return regexp.MustCompile(`joined +\S+-[0-9a-f]{16}`).MatchString(after)
	})
	pageOf(t, p).shows(`"alive":3`, `"failed":1`, `"replaced":true`, `"findings":[]`)
	if code, out := o.look("members"); code != 0 || !containsAll(out, []string{"failed", tasks(p.output())[3].ip}) {
		t.Errorf("members: code %d\n%s", code, out)
	}
	if code := monitor.stop(os.Interrupt); code != 0 {
		t.Errorf("monitor: code %d", code)
	}
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(o.args[1]); !os.IsNotExist(err) {
		t.Errorf("the file of the secret is still there: %v", err)
	}
}

// TestCheckSeesADeath: check says that a node is dead while no other has come for it.
// The nodes are alone: nobody replaces them.
func TestCheckSeesADeath(t *testing.T) {
	heavy(t)
	const secret = "0123456789abcdef0123456789abcdef"
	env := []string{"RUNRIG_SECRET=" + secret}
	peers := []string{freeAddr(t), freeAddr(t), freeAddr(t)}
	var nodes []*process
	for _, bind := range peers {
		nodes = append(nodes, start(t, env, "-peers", strings.Join(peers, ","), "-bind", bind, "-http", freeAddr(t)))
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	o := outsider{t, []string{"-secret-file", file, "-node", peers[0]}}
	o.await(15*time.Second, "all is well", func(code int, out string) bool {
		return code == 0 && strings.Contains(out, "ok: 3 nodes alive, 3 have answered")
	}, "check")
	if err := nodes[2].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	o.await(10*time.Second, "check says that one failed", func(code int, out string) bool {
		return code == 1 && strings.Contains(out, peers[2]+" failed") && strings.Contains(out, "no node has come for it")
	}, "check")
	if code, out := o.look("check", "-min", "3"); code != 2 || !strings.Contains(out, "CRITICAL members: 2 nodes are alive; -min is 3") {
		t.Errorf("with -min: code %d\n%s", code, out)
	}
	start(t, env, "-peers", strings.Join(peers, ","), "-bind", freeAddr(t), "-http", freeAddr(t))
	o.await(15*time.Second, "the replacement is in", func(code int, out string) bool {
		return code == 0 && strings.Contains(out, "ok: 3 nodes alive, 3 have answered")
	}, "check", "-min", "3")
}

func containsAll(text string, all []string) bool {
	for _, s := range all {
		if !strings.Contains(text, s) {
			return false
		}
	}
	return true
}
