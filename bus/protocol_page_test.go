package bus_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The functions and tests that PROTOCOL.md names for each rule are there, and it names
// some for every rule.
func TestProtocolPage(t *testing.T) {
	t.Parallel()
	_, table, ok := strings.Cut(readFile(t, "PROTOCOL.md"), "\n## What holds the rules\n")
	if !ok {
		t.Fatal("PROTOCOL.md does not say what holds the rules")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	there := declared(t, ".", "internal/frame", "../cluster", "../cluster/internal/wire")
	for _, name := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(table, -1) {
		if !there[name[1]] {
			t.Errorf("PROTOCOL.md names %s, which there is none of", name[1])
		}
	}
	rules := strings.Fields("H1 H2 H3 H4 H5 H6 H7 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 L1 L2 L3 L4 L5")
	for _, row := range regexp.MustCompile(`(?m)^\| (\w+) \|`).FindAllStringSubmatch(table, -1) {
		rules = slices.DeleteFunc(rules, func(r string) bool { return r == row[1] })
	}
	if len(rules) > 0 {
		t.Errorf("PROTOCOL.md does not say what holds %v", rules)
	}
}

// declared returns the names of the functions and methods in some directories.
func declared(t *testing.T, dirs ...string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, dir := range dirs {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range regexp.MustCompile(`(?m)^func (?:\([^)]*\) )?(\w+)`).FindAllSubmatch(b, -1) {
				names[string(f[1])] = true
			}
		}
	}
	return names
}
