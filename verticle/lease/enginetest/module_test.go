package enginetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUsersModule: a program in a module of its own, with what an engine's go.mod and
// go.sum say and nothing else, builds with that engine.
func TestUsersModule(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for engine, open := range map[string]string{
		"dynamodb": `store.Open(ctx, "leases")`,
		"etcd":     `store.New(nil, "")`,
		"postgres": `store.New(nil, "lease")`,
		"redis":    `store.New(nil, "")`,
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			module, dir := "github.com/runrig-go/runrig/verticle/lease/"+engine, t.TempDir()
			source := filepath.Join(here, "..", engine)
			files := map[string]string{
				"go.mod": "module example.com/app\n\ngo 1.26.0\n\nrequire " + module + " v0.1.0\n\nreplace (\n\t" + module + " => " + source +
					"\n\tgithub.com/runrig-go/runrig => " + filepath.Join(here, "../../..") + "\n)\n",
				"go.sum": read(t, filepath.Join(source, "go.sum")),
				"app.go": "package app\n\nimport (\n\t\"context\"\n\t\"github.com/runrig-go/runrig/verticle/lease\"\n\tstore \"" + module + "\"\n)\n\n" +
					"func open(ctx context.Context) (lease.Store, error) { return " + open + " }\n",
			}
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", ".")
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "GOPROXY=off")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("go build: %v\n%s", err, out)
			}
			for dep := range strings.Lines(read(t, filepath.Join(dir, "go.mod"))) {
				if strings.Contains(dep, "porcupine") || strings.Contains(dep, "enginetest") {
					t.Errorf("the user's go.mod has %s, which only tests need", dep)
				}
			}
		})
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
