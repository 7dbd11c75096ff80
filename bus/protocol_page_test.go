package bus_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// inFile is how a page names a function, with its receiver's type, and its file.
var inFile = regexp.MustCompile("`([\\w.]+)` \\(([\\w./]+\\.go)\\)")

// The functions that INSIDE.md names with a file are there.
func TestInsidePage(t *testing.T) {
	t.Parallel()
	for _, f := range inFile.FindAllStringSubmatch(readFile(t, "INSIDE.md"), -1) {
		if !declared(t, f[2])[f[1]] {
			t.Errorf("INSIDE.md names %s, which there is none of", f[0])
		}
	}
}

// tripFiles is through how many files a Send passes to its handler.
const tripFiles = 8

// The files through which INSIDE.md says that a Send passes are those: each function is called
// by one before it, but for those with which a goroutine begins, and no file is entered again
// that was left.
func TestTripOfASend(t *testing.T) {
	t.Parallel()
	_, table, _ := strings.Cut(readFile(t, "INSIDE.md"), "**A Send.**")
	table, _, _ = strings.Cut(table, "\n\n**")
	rows := regexp.MustCompile(`(?m)^\| (\w+\.go)(, as before)? \| (.+?) \|`).FindAllStringSubmatch(table, -1)
	calls := loadSource(t).calls()
	var files, passed []string
	for _, row := range rows {
		file, again := row[1], row[2] != ""
		if slices.Contains(files, file) != again {
			t.Errorf("%s is entered a second time", file)
		} else if !again {
			files = append(files, file)
		}
		for f := range strings.FieldsSeq(strings.ReplaceAll(row[3], "`", "")) {
			begins := slices.Contains([]string{"EventBus.Send", "reader.read", "consumerWorker.drain"}, f)
			called := func(by string) bool { return calls[by][f] }
			if !declared(t, file)[f] || !begins && !slices.ContainsFunc(passed, called) {
				t.Errorf("no function that INSIDE.md names before %s calls it, or %s has none of that name", f, file)
			}
			passed = append(passed, f)
		}
	}
	if len(files) != tripFiles || !calls["consumerWorker.call"]["Handler.Handle"] {
		t.Errorf("a Send passes through %d files: %v\ntripFiles is %d: take one out, or lower it", len(files), files, tripFiles)
	}
}

// PROTOCOL.md says for every rule which functions keep it, in which files, and which tests
// hold it. All of them are there, and the files cite the rule.
func TestProtocolPage(t *testing.T) {
	t.Parallel()
	_, table, ok := strings.Cut(readFile(t, "PROTOCOL.md"), "\n## What holds the rules\n")
	if !ok {
		t.Fatal("PROTOCOL.md does not say what holds the rules")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	tests := declared(t, "*_test.go", "internal/frame/*_test.go", "../cluster/*_test.go", "../cluster/internal/wire/*_test.go")
	rules := strings.Fields("H1 H2 H3 H4 H5 H6 H7 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 L1 L2 L3 L4 L5")
	rows := regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`).FindAllStringSubmatch(table, -1)
	for _, row := range rows[1:] { // the first is the head
		rule, keeps, holds := row[1], row[2], row[3]
		rules = slices.DeleteFunc(rules, func(r string) bool { return r == rule })
		for part := range strings.SplitSeq(keeps, ", ") {
			f := inFile.FindStringSubmatch(part)
			if f == nil || f[0] != part || !declared(t, f[2])[f[1]] {
				t.Errorf("PROTOCOL.md says that rule %s is kept by %s, which there is none of", rule, part)
			} else if !cites(readFile(t, f[2]), rule) {
				t.Errorf("%s does not cite rule %s, which %s keeps", f[2], rule, f[1])
			}
		}
		for _, name := range strings.Fields(strings.ReplaceAll(holds, "`", "")) {
			if !tests[name] {
				t.Errorf("PROTOCOL.md says that rule %s is held by %s, which there is none of", rule, name)
			}
		}
	}
	if len(rules) > 0 {
		t.Errorf("PROTOCOL.md does not say what holds %v", rules)
	}
}

// cites reports whether a file cites a rule by its number, as "rule 4", "leaving 1" or "H2",
// or need not, as the rule has none.
func cites(source, rule string) bool {
	name := regexp.MustCompile(`^\d`).ReplaceAllString(rule, "rule $0")
	name = regexp.MustCompile(`^L`).ReplaceAllString(name, "leaving ")
	return !regexp.MustCompile(`\d`).MatchString(rule) || regexp.MustCompile(`\b`+name+`\b`).MatchString(source)
}

// declared returns the names of the functions in the files that match, those of methods
// behind their receiver's type.
func declared(t *testing.T, patterns ...string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, f := range regexp.MustCompile(`(?m)^func (?:\(\w+ \*?(\w+)[^)]*\) )?(\w+)`).FindAllStringSubmatch(readFile(t, file), -1) {
				names[strings.TrimPrefix(f[1]+"."+f[2], ".")] = true
			}
		}
	}
	return names
}
