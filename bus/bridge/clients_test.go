package bridge_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus/bridge"
	"github.com/runrig-go/runrig/bus/bustest"
)

// The official clients work unmodified.
func TestClients(t *testing.T) {
	t.Parallel()
	here, err := filepath.Abs("testdata/clients")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, run, script, needs, pkg string }{
		{"eventbus-bridge-client.js", "node", "sockjs.js", "node_modules/@vertx/eventbus-bridge-client.js", "@vertx/eventbus-bridge-client.js"},
		{"vertx3-eventbus-client", "node", "sockjs.js", "node_modules/vertx3-eventbus-client", "vertx3-eventbus-client"},
		{"vertx3-tcp-eventbus-client", "node", "tcp.js", "node_modules/vertx3-tcp-eventbus-client", ""},
		{"python vertx-eventbus-client", "python3", "client.py", "python/vertx", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := outside(t, ".")
			outside(t, c.needs)
			s := newSetup(t, bustest.NewBus(t), bridge.Config{Rules: behaviourRules()})
			serveBehaviours(t, s.eb)
			_, port, _ := strings.Cut(s.tcp, ":")
			args := []string{filepath.Join(here, c.script), port}
			if c.pkg != "" {
				args = []string{filepath.Join(here, c.script), c.pkg, s.web}
			}
			cmd := command(t, c.run, args...)
			cmd.Dir = dir
			cmd.Env = append(cmd.Environ(), "PYTHONPATH="+filepath.Join(dir, "python"))
			passed(t, cmd)
		})
	}
}

// passed runs checks that print "done" at their end.
func passed(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "done") {
		t.Errorf("%v: %v\n%s", cmd, err, out)
	}
	t.Logf("%d checks", strings.Count(string(out), "ok "))
}
