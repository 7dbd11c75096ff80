// Package long parts the tests in two forms, for a test binary that imports it: by
// itself it runs the short form, in which [testing.Short] is true; with the flag
// -long, or with -short=false, it runs all.
package long

import (
	"flag"
	"runtime"
	"strconv"
	"testing"
)

// The flags are set before they are parsed, as package testing has no default but
// the long form.
func init() {
	testing.Init()
	_ = flag.Set("test.short", "true")
	flag.BoolFunc("long", "run all tests, in full", func(value string) error {
		long, err := strconv.ParseBool(value)
		if err != nil {
			return err
		}
		return flag.Set("test.short", strconv.FormatBool(!long))
	})
}

// Only skips a test, because of what it takes, in the short form.
func Only(t testing.TB, takes string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("%s: with -long", takes)
	}
}

// Waiting lets more parallel tests run at once than there are processors, for a
// package whose tests wait for most of their time. Called by an init function; the
// flag -parallel has the last word.
func Waiting() { _ = flag.Set("test.parallel", strconv.Itoa(4*runtime.GOMAXPROCS(0))) }
