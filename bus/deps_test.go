package bus_test

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A program that uses the bus alone compiles the standard library, protobuf,
// the module's own small parts, and nothing else.
func TestDependencies(t *testing.T) {
	t.Parallel()
	goCommand, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command:", err)
	}
	const module, protobuf = "github.com/runrig-go/runrig/", "google.golang.org/protobuf/"
	const bus = module + "bus"
	cmd := exec.CommandContext(t.Context(), goCommand, "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", bus)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, bus) {
		t.Fatalf("%v lists %q", cmd, deps)
	}
	for _, dep := range deps {
		if dep != bus && !strings.HasPrefix(dep, bus+"/internal/") && !strings.HasPrefix(dep, protobuf) {
			t.Errorf("bus depends on %s", dep)
		}
	}
}

// Each test of the module knows -long, so that go test ./... -long runs all.
func TestDependenciesOfTests(t *testing.T) {
	t.Parallel()
	goCommand, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command:", err)
	}
	const format = "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{join .TestImports \" \"}} {{join .XTestImports \" \"}}{{end}}"
	cmd := exec.CommandContext(t.Context(), goCommand, "list", "-f", format, "github.com/runrig-go/runrig/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	look(t) // or the go command takes an old result for good, as it knows only what the test itself reads
	for line := range strings.Lines(string(out)) {
		if pkg, imports, _ := strings.Cut(line, " "); !strings.Contains(imports, "/internal/long") {
			tree, _, _ := strings.Cut(strings.TrimPrefix(pkg, "github.com/runrig-go/runrig/"), "/")
			t.Errorf("go test ./... -long fails in %s: a file long_test.go there is to have\n\timport _ \"github.com/runrig-go/runrig/%s/internal/long\" // go test ./... -long", pkg, tree)
		}
	}
}

// look reads the folders of the module.
func look(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != ".." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
