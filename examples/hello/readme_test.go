package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery/ecs"
)

const root = "../.."

// TestReadmeShowsThisProgram keeps the README's Go code what is compiled here.
func TestReadmeShowsThisProgram(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readme, -1)
	if len(blocks) == 0 || blocks[0][1] != read(t, "examples/hello/main.go") {
		t.Error("the README's first Go code is not examples/hello/main.go")
	}
	here := withoutSpace(read(t, "examples/hello/readme_test.go"))
	for _, b := range blocks[1:] {
		if !strings.Contains(here, withoutSpace(b[1])) {
			t.Errorf("the README has Go code that is not compiled here:\n%s", b[1])
		}
	}
}

// onECS is in the README.
func onECS(ctx context.Context, eb *bus.EventBus) (*cluster.Node, error) {
	p, err := ecs.New(ctx, ecs.Config{}) // this task, and the others of its service
	if err != nil {
		return nil, err
	}
	return cluster.Join(ctx, eb, cluster.Config{Discovery: p, Secrets: cluster.SecretsFromEnv("RUNRIG_SECRET")})
}

func TestReadmeOnECS(t *testing.T) {
	for _, name := range []string{"ECS_CONTAINER_METADATA_URI_V4", "ECS_CONTAINER_METADATA_URI", "AWS_EXECUTION_ENV", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		t.Setenv(name, "")
	}
	if _, err := onECS(t.Context(), bus.New()); !errors.Is(err, ecs.ErrNotOnECS) {
		t.Errorf("elsewhere: %v", err)
	}
}

func TestReadmeIsShort(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	if n := strings.Count(readme, "\n"); n > 150 {
		t.Errorf("the README has %d lines; 150 are enough", n)
	}
	if n := strings.Count(read(t, "examples/hello/main.go"), "\n"); n > 40 {
		t.Errorf("hello has %d lines; 40 are enough", n)
	}
	before, _, ok := strings.Cut(readme, "\ngo run ./examples/ecsdemo")
	if n := strings.Count(before, "\n"); !ok || n >= 40 {
		t.Errorf("what can be run comes in line %d of the README", n)
	}
}

// TestReadmeNamesTestsThatExist: the README says of each promise what shows it.
func TestReadmeNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile("`(\\./\\S+) -run (\\w+)`").FindAllStringSubmatch(read(t, "README.md"), -1)
	if len(named) == 0 {
		t.Error("the README names no tests")
	}
	for _, m := range named {
		files, err := filepath.Glob(filepath.Join(root, m[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(file string) bool {
			text, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(text), "\nfunc "+m[2])
		}) {
			t.Errorf("the README names %s of %s, which is not there", m[2], m[1])
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^):#]+)\)`)
	code := regexp.MustCompile("(?s)```.*?```")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func withoutSpace(s string) string { return strings.Join(strings.Fields(s), "") }
