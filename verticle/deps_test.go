package verticle_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies: who uses verticles without a cluster compiles none of what
// clusters need.
func TestDependencies(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	const module = "github.com/runrig-go/runrig/"
	for p := range strings.FieldsSeq(string(out)) {
		own := strings.HasPrefix(p, module+"bus") || p == module+"verticle" || p == module+"verticle/internal/guard"
		std := !strings.Contains(strings.Split(p, "/")[0], ".")
		named := strings.HasPrefix(p, "google.golang.org/protobuf/") || p == "github.com/cenkalti/backoff/v5"
		if !own && !std && !named {
			t.Errorf("verticle depends on %s", p)
		}
	}
}
