package command

import (
	"testing"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// TestFewMembers: fewer nodes than -min are found.
func TestFewMembers(t *testing.T) {
	t.Parallel()
	s := inspect.Cluster{Members: []inspect.Member{{Status: "alive"}, {Status: "alive"}, {Status: "failed"}}}
	if found := examine(&s, &s, 3); len(found) == 0 || found[0].What != "members" || found[0].Level != inspect.LevelCritical {
		t.Errorf("2 of 3: found %v", found)
	}
	for _, f := range examine(&s, &s, 2) {
		if f.Level == inspect.LevelCritical {
			t.Errorf("2 of 2: found %v", f)
		}
	}
}
