package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runrig-go/runrig/examples/internal/long"
)

// TestTwoTerminals does what the README shows.
func TestTwoTerminals(t *testing.T) {
	long.Only(t, "it builds and runs the program")
	t.Parallel()
	hello := build(t)
	talk(t, hello, hello)
}

// TestTwoArchitectures lets a program of 32 bits and one of 64 talk, each with the
// other.
func TestTwoArchitectures(t *testing.T) {
	long.Only(t, "it builds and runs two programs")
	t.Parallel()
	if runtime.GOARCH != "amd64" || runtime.GOOS != "linux" {
		t.Skip("this system does not run programs of 386 and amd64")
	}
	narrow, wide := build(t, "GOARCH=386"), build(t)
	talk(t, narrow, wide)
	talk(t, wide, narrow)
}

// build builds hello.
func build(t *testing.T, env ...string) (hello string) {
	t.Helper()
	hello = filepath.Join(t.TempDir(), "hello")
	if runtime.GOOS == "windows" {
		hello += ".exe"
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", hello, ".")
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return hello
}

// talk runs one program that answers, and one that asks it.
func talk(t *testing.T, answers, asks string) {
	t.Helper()
	first := exec.CommandContext(t.Context(), answers)
	out, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); errors.Is(err, syscall.ENOEXEC) {
		t.Skip("this system runs no such program:", err)
	} else if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	words := strings.Fields(line)
	if err != nil || !strings.HasPrefix(line, "now run: go run ./examples/hello ") {
		t.Fatalf("the first one said %q, %v", line, err)
	}

	start := time.Now()
	answer, err := exec.CommandContext(t.Context(), asks, words[len(words)-1]).Output()
	if err != nil || string(answer) != "hello, ada\n" {
		t.Errorf("the second one said %q, %v", answer, err)
	}
	t.Logf("the second one took %v", time.Since(start))

	if err := first.Process.Signal(syscall.SIGTERM); err != nil { // as whatever runs containers does
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil || len(rest) > 0 {
		t.Errorf("the first one ended with %q, %v", rest, err)
	}
	if err := first.Wait(); err != nil {
		t.Errorf("the first one ended: %v", err)
	}
}
