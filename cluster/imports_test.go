package cluster_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The layers: whoever imports cluster compiles no AWS SDK, whoever imports bus no
// serf.
func TestImports(t *testing.T) {
	t.Parallel()
	for pkg, not := range map[string][]string{
		"github.com/runrig-go/runrig/cluster":             {"aws", "/testing", "clustertest", "bustest"},
		"github.com/runrig-go/runrig/cluster/clustertest": {"aws"},
		"github.com/runrig-go/runrig/bus":                 {"hashicorp", "aws"},
	} {
		out, err := exec.Command("go", "list", "-deps", pkg).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for dep := range strings.Lines(string(out)) {
			for _, word := range not {
				if strings.Contains(dep, word) {
					t.Errorf("%s depends on %s", pkg, strings.TrimSpace(dep))
				}
			}
		}
	}
}
