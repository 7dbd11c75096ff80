package bridge_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestMain fails when a test has left something of the bridge running, unless it
// ends soon.
func TestMain(m *testing.M) {
	if ports := os.Getenv(childEnv); ports != "" {
		child(ports)
	}
	code := m.Run()
	for end := time.Now().Add(2 * time.Second); code == 0; time.Sleep(10 * time.Millisecond) {
		left := running()
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "%d goroutines are left:\n\n%s\n", len(left), bytes.Join(left, []byte("\n\n")))
			code = 1
		}
	}
	os.Exit(code)
}

// running returns the stacks of all goroutines in this module but the caller's.
func running() (stacks [][]byte) {
	buf := make([]byte, 1<<20)
	all := bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n"))
	for _, s := range all[1:] { // the first is the caller
		if bytes.Contains(s, []byte("github.com/runrig-go/runrig/")) {
			stacks = append(stacks, s)
		}
	}
	return stacks
}
