package busotel_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestUsersModule builds a module of a user's that requires this one and the root.
func TestUsersModule(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const root, this = "github.com/runrig-go/runrig", "github.com/runrig-go/runrig/bus/busotel"
	for name, text := range map[string]string{
		"go.sum": string(sums),
		"go.mod": "module example.test/user\n\ngo 1.26.0\n\nrequire (\n\t" + this + " v0.1.0\n\t" + root + " v0.1.0\n)\n\n" +
			"replace " + this + " => " + here + "\n\nreplace " + root + " => " + filepath.Join(here, "../..") + "\n",
		"main.go": "package main\n\nimport \"" + this + "\"\n\nfunc main() { _ = busotel.NewTracing }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-buildvcs=false", "-o", os.DevNull, ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
