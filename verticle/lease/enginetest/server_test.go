package enginetest

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// find returns the path of a program, or skips the test. Some are not in PATH.
func find(t testing.TB, program, pkg string, elsewhere ...string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, pattern := range elsewhere {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	t.Skipf("%s is not installed (%s)", program, pkg)
	return ""
}

// freeAddr returns an address of the loopback that nobody has.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// tempDir returns a directory that another user can be given.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "enginetest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// serve runs a server until the test ends, and waits until it is ready.
func serve(t testing.TB, cmd *exec.Cmd, ready func(ctx context.Context) error) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // until the server ends, which the cleanup waits for
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		err := ready(attempt)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("%v ended: %s", cmd.Args, &said)
		case <-ctx.Done():
			t.Fatalf("%v is not ready: %v", cmd.Args, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
