package lease_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies: leases need no more than verticles do.
func TestDependencies(t *testing.T) {
	t.Parallel()
	list := func(pkg string) map[string]bool {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg).CombinedOutput()
		if err != nil {
			t.Fatalf("go list: %v\n%s", err, out)
		}
		deps := map[string]bool{}
		for p := range strings.FieldsSeq(string(out)) {
			deps[p] = true
		}
		return deps
	}
	verticles := list("github.com/runrig-go/runrig/verticle")
	for p := range list(".") {
		if std := !strings.Contains(strings.Split(p, "/")[0], "."); !std && !verticles[p] && !strings.HasSuffix(p, "/verticle/lease") {
			t.Errorf("lease depends on %s", p)
		}
	}
}
