package bridge_test

import (
	"os"
	"strings"
	"testing"
)

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
