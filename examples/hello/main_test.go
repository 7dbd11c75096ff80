package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestTwoTerminals does what the README shows.
func TestTwoTerminals(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and runs the program")
	}
	t.Parallel()
	hello := filepath.Join(t.TempDir(), "hello")
	if runtime.GOOS == "windows" {
		hello += ".exe"
	}
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", hello, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	first := exec.CommandContext(t.Context(), hello)
	out, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	words := strings.Fields(line)
	if err != nil || !strings.HasPrefix(line, "now run: go run ./examples/hello ") {
		t.Fatalf("the first one said %q, %v", line, err)
	}

	start := time.Now()
	answer, err := exec.CommandContext(t.Context(), hello, words[len(words)-1]).Output()
	if err != nil || string(answer) != "hello, ada <nil>\n" {
		t.Errorf("the second one said %q, %v", answer, err)
	}
	t.Logf("the second one took %v", time.Since(start))

	if err := first.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil || string(rest) != "stopped: <nil>\n" {
		t.Errorf("the first one ended with %q, %v", rest, err)
	}
	if err := first.Wait(); err != nil {
		t.Errorf("the first one ended: %v", err)
	}
}
