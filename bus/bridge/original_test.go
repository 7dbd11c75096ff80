package bridge_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// outside returns a file of the folder that .ci/bridges has filled with clients and the
// original, and skips the test where there is none: tests download nothing.
func outside(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("RUNRIG_BRIDGES")
	if dir == "" {
		t.Skip("RUNRIG_BRIDGES is not set: .ci/run bridges downloads the clients and the original, and runs this")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skip("not downloaded:", err)
	}
	return path
}

// command returns a command that is there, and skips the test where it is not.
func command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(err)
	}
	return exec.CommandContext(t.Context(), path, args...)
}

// newOriginal starts the original's bridges.
func newOriginal(t testing.TB) (*setup, *exec.Cmd) {
	t.Helper()
	classpath, err := os.ReadFile(outside(t, "classpath.txt"))
	if err != nil {
		t.Fatal(err)
	}
	tcp, web := freePort(t), freePort(t)
	cmd := command(t, "java", "-cp", strings.TrimSpace(string(classpath)), "testdata/original/Original.java", tcp, web)
	return startBridge(t, cmd, tcp, web), cmd
}

// startBridge starts a process that is a bridge, and ends it with the test.
func startBridge(t testing.TB, cmd *exec.Cmd, tcp, web string) *setup {
	t.Helper()
	in, err := cmd.StdinPipe() // whose end ends it
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "ready" {
			go func() { // until the process ends
				for lines.Scan() {
				}
			}()
			return &setup{t: t, tcp: "127.0.0.1:" + tcp, web: fmt.Sprintf("http://127.0.0.1:%s/eventbus", web)}
		}
	}
	t.Fatal("the bridge did not start")
	return nil
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// The original answers the same, but where testdata/behaviours.txt says that it does
// not, and there as it says.
func TestOriginal(t *testing.T) {
	s, _ := newOriginal(t)
	same, differ := 0, map[string]bool{}
	for _, tr := range transports {
		for _, b := range behaviours(t, tr) {
			t.Run(tr+"/"+b.name, func(t *testing.T) {
				s := *s
				s.t = t
				if runOnOriginal(t, s.dial(tr), b, tr) {
					same++
				} else {
					differ[b.name] = true
				}
			})
		}
	}
	t.Logf("%d behaviours are the same, %d differ", same, len(differ))
}

// runOnOriginal reports whether the original has answered as this bridge does.
func runOnOriginal(t *testing.T, p peer, b behaviour, tr string) (same bool) {
	defer func() {
		p.close()
		time.Sleep(50 * time.Millisecond) // for the original to notice
	}()
	c := conversation{p: p}
	for _, step := range b.steps {
		if step.write != "" {
			c.write(step.write)
			if strings.Contains(step.write, "register") {
				time.Sleep(20 * time.Millisecond) // as the original registers behind the next frame
			}
			continue
		}
		want := step.read
		if step.original != "" {
			want = step.original
		}
		if want == "nothing" || want == "hangs" {
			if got := c.silence(); got != "" {
				t.Fatalf("the original answers %s; this bridge answers %s, and of the original the file says that it answers nothing", got, step.read)
			}
			return false
		}
		if got := c.read(); !sameJSON(got, want) {
			t.Fatalf("the original answers %s\nthis bridge answers  %s\nof the original the file says %s", got, step.read, want)
		}
		if step.original != "" {
			return false
		}
	}
	return true
}

// silence returns what comes within a while, "" if nothing does.
func (c *conversation) silence() string {
	got := make(chan string, 1)
	go func() { got <- c.read() }() // until the connection is closed, at the latest
	select {
	case frame := <-got:
		return frame
	case <-time.After(500 * time.Millisecond):
		c.p.close()
		return ""
	}
}

var sameJSON = same
