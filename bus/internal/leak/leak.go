// Package leak finds goroutines that tests have left running.
package leak

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// Main runs the tests of a package and ends the process, with a failure if one of them
// has left something of this module running that does not end within two seconds.
func Main(m *testing.M) {
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
