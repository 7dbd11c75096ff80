package postgres_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// newPool starts a server that ends with the test, or skips it, and returns a pool of
// connections and how to end the server before.
func newPool(t *testing.T) (pool *pgxpool.Pool, kill func()) {
	t.Helper()
	initdb, server := find(t, "initdb"), find(t, "postgres")
	dir, err := os.MkdirTemp("", "discovery") // which another user can be given
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data := filepath.Join(dir, "data")
	init := exec.CommandContext(t.Context(), initdb, "-D", data, "-A", "trust", "-U", "postgres", "-N", "--no-locale", "-E", "UTF8")
	if out, err := asNobody(t, init, dir).CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(addr)
	kill = serve(t, asNobody(t, exec.Command(server, "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="), dir))
	if pool, err = pgxpool.New(t.Context(), "postgres://postgres@"+addr+"/postgres"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	ready(t, pool)
	return pool, kill
}

// find returns the path of a program of the server, which Debian has not in PATH.
func find(t *testing.T, program string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program); len(found) > 0 {
		return found[len(found)-1]
	}
	t.Skipf("%s is not installed (apt-get install postgresql)", program)
	return ""
}

// serve runs a server until kill is called, or the test ends.
func serve(t *testing.T, cmd *exec.Cmd) (kill func()) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, &said, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // until the server ends, which kill waits for
		defer close(ended)
		_ = cmd.Wait()
	}()
	kill = func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	t.Cleanup(func() {
		kill()
		if t.Failed() {
			t.Logf("the server said:\n%s", &said)
		}
	})
	return kill
}

func ready(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		err := pool.Ping(ctx)
		if err == nil {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the server is not ready: %v", err)
		}
	}
}
