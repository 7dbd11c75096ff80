package model

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	_ "github.com/runrig-go/runrig/bus/internal/long" // go test ./... -long
)

var states = flag.Int("states", 0, "search so many states of each configuration, and walk those that are too large for a minute each")

// How many states of each configuration are searched, unless -states says so.
const (
	statesShort = 5_000
	statesLong  = 50_000
)

func mostStates() int {
	switch {
	case *states > 0:
		return *states
	case testing.Short():
		return statesShort
	}
	return statesLong
}

// With all rules kept no state breaks a promise, and each can come to a good end.
func TestKept(t *testing.T) {
	for _, m := range models() {
		t.Run(m.name, func(t *testing.T) {
			if m.large {
				walkOf(t, m)
				return
			}
			r := m.search(0, limits{states: mostStates()})
			t.Logf("%d states, all: %v", r.states, r.complete)
			for _, f := range r.findings {
				t.Error(f)
			}
		})
	}
}

// walkOf walks a model that is too large to be searched.
func walkOf(t *testing.T, m model) {
	if testing.Short() && *states == 0 {
		t.Skip("it is walked for a second with -long, or for a minute with -states")
	}
	d := time.Second
	if *states > 0 {
		d = time.Minute
	}
	walks, found := m.walk(1, time.Now().Add(d))
	t.Logf("%d walks", walks)
	if found != nil {
		t.Error(found)
	}
}

func (f finding) String() string { return f.what + "\n\t" + strings.Join(f.trace, "\n\t") }

// Without any of the rules the model finds what comes of it.
func TestRulesAreNeeded(t *testing.T) {
	t.Parallel()
	by := map[string]model{}
	for _, m := range models() {
		by[m.name] = m
	}
	for _, r := range rules {
		t.Run(r.number+" "+r.out, func(t *testing.T) {
			t.Parallel()
			switch got := by[r.in].search(without(r.breach), limits{states: 50_000, first: true}); {
			case len(got.findings) == 0:
				t.Errorf("%s: nothing is found in %d states", r.in, got.states)
			case got.findings[0].what != r.found:
				t.Errorf("%s: %v", r.in, got.findings[0])
			default:
				t.Logf("%s: %v", r.in, got.findings[0])
			}
		})
	}
}

// Each breach is a rule's, and each rule is one of the page.
func TestRulesAreOfThePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, leaves, ok := strings.Cut(string(page), "\n## A node leaves\n")
	if !ok {
		t.Fatal("PROTOCOL.md does not say how a node leaves")
	}
	of := map[breach]bool{}
	for _, r := range rules {
		of[r.breach] = true
		in, mark := string(page), r.number+". "
		switch {
		case r.number == "first":
			mark = "**First**"
		case strings.HasPrefix(r.number, "H"):
			mark = "- **" + r.number + "**"
		case strings.HasPrefix(r.number, "L"):
			in, mark = leaves, r.number[1:]+". "
		}
		if !regexp.MustCompile("(?m)^" + regexp.QuoteMeta(mark)).MatchString(in) {
			t.Errorf("PROTOCOL.md has no rule %s: %s", r.number, r.out)
		}
	}
	for b := range proofsNumbered + 1 {
		if !of[b] {
			t.Errorf("breach %d is no rule's", b)
		}
	}
}
