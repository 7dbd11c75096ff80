package bridge_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the original's suites hold is held here: each line of the page names tests and
// dialogues that exist.
func TestEachBehaviourIsHeld(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("BEHAVIOURS.md")
	if err != nil {
		t.Fatal(err)
	}
	exist := map[string]bool{}
	for _, tr := range transports {
		for _, b := range behaviours(t, tr) {
			exist[`"`+b.name+`"`] = true
		}
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(code), -1) {
			exist["`"+m[1]+"`"] = true
		}
	}
	for _, name := range regexp.MustCompile("`Test\\w+`").FindAllString(string(page), -1) {
		if !exist[name] {
			t.Errorf("there is no %s", name)
		}
	}
	seen := map[string]bool{}
	for _, line := range regexp.MustCompile(`(?m)^\| (\w+Test \| test\w+) \|.*\| (.*) \|$`).FindAllStringSubmatch(string(page), -1) {
		if seen[line[1]] {
			t.Errorf("%s is there twice", line[1])
		}
		seen[line[1]] = true
		held := regexp.MustCompile("`[^`]+`|\"[^\"]+\"").FindAllString(line[2], -1)
		for _, by := range held {
			if !exist[by] {
				t.Errorf("%s is held by %s, which does not exist", line[1], by)
			}
		}
		if len(held) == 0 {
			t.Errorf("%s is held by nothing", line[1])
		}
	}
	const tcp, sockjs, slow = 23, 75, 2 // the original's tests
	if len(seen) != tcp+sockjs+slow {
		t.Errorf("the page has %d of the original's tests, not %d", len(seen), tcp+sockjs+slow)
	}
}

// Each behaviour that differs from the original's says why.
func TestDifferencesHaveReasons(t *testing.T) {
	t.Parallel()
	for _, tr := range transports {
		for _, b := range behaviours(t, tr) {
			differs := false
			for _, s := range b.steps {
				differs = differs || s.original != ""
			}
			if differs && b.reason == "" {
				t.Errorf("%s: %q differs from the original and does not say why", tr, b.name)
			}
		}
	}
}

// The page has each word that the code can say.
func TestWordsAreOnThePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("dialect.go")
	if err != nil {
		t.Fatal(err)
	}
	words := 0
	for _, line := range strings.Split(string(code), "\n") {
		if _, rest, ok := strings.Cut(line, ` code = "`); ok {
			word, _, _ := strings.Cut(rest, `"`)
			words++
			if !strings.Contains(string(page), "`"+word+"`") {
				t.Errorf("the page does not have %q", word)
			}
		}
	}
	if words == 0 {
		t.Error("dialect.go has no words")
	}
}
