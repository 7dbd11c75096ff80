package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/runrig-go/runrig/examples/internal/long"
)

// TestFirstProgram runs the program as the page shows it, to its clean end.
func TestFirstProgram(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it sends a signal")
	}
	long.Only(t, "it builds and runs the program")
	t.Parallel()
	name := filepath.Join(t.TempDir(), "vertx")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", name, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for _, want := range []string{"hello, ada\n", "greeted so far: 1\n", "greeted so far: 1\n"} {
		if line, err := lines.ReadString('\n'); line != want {
			t.Fatalf("it said %q, %v; want %q", line, err, want)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil || string(rest) != "the greeter has greeted 1\n" {
		t.Errorf("it ended with %q, %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended: %v", err)
	}
}
