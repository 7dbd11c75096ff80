package main

//lint:file-ignore SA4006 the README leaves the handling of errors out

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus"
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
}

var prices = map[string]int{"apple": 42}

// Order is of the README.
type Order struct{ ID int }

func (o Order) save(context.Context) error { return forget(fmt.Sprint(o.ID)) }

func forget(what string) error { told <- what; return nil }

var told = make(chan string, 2)

func TestReadmeVerbs(t *testing.T) {
	ctx, eb := t.Context(), bus.New()
	defer eb.Close()

	// Request: one consumer of the address answers, in turn. An error says whether the handler may have run.
	_, err := eb.Consume("price", bus.Respond(func(ctx context.Context, sku string) (int, error) { return prices[sku], nil }))
	cents, err := bus.Request[int](ctx, eb, "price", "apple")

	// Send: one consumer gets it, at most once, in order; by key always the same one.
	_, err = eb.Consume("order", bus.Receive(func(ctx context.Context, o Order) error { return o.save(ctx) }))
	err = eb.Send(ctx, "order", Order{ID: 17}, bus.ByKey("customer-4"))

	// Publish: all consumers get it, on all nodes.
	_, err = eb.Consume("price.changed", bus.Receive(func(ctx context.Context, sku string) error { return forget(sku) }))
	err = eb.Publish(ctx, "price.changed", "apple")

	// RequestAll: all consumers answer.
	all, err := eb.RequestAll(ctx, "price", "apple")

	if err != nil || cents != 42 || len(all) != 1 {
		t.Errorf("%d cents, %d answers, %v", cents, len(all), err)
	}
	if got := []string{<-told, <-told}; !slices.Contains(got, "17") || !slices.Contains(got, "apple") {
		t.Errorf("told of %q", got)
	}
}

func TestReadmeIsShort(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	if n := strings.Count(readme, "\n"); n > 150 {
		t.Errorf("the README has %d lines; 150 are enough", n)
	}
	if n := strings.Count(read(t, "examples/hello/main.go"), "\n"); n > 46 {
		t.Errorf("hello has %d lines; 46 are enough", n)
	}
	before, _, ok := strings.Cut(readme, "\ngo run ./examples/ecsdemo")
	if n := strings.Count(before, "\n"); !ok || n >= 40 {
		t.Errorf("what can be run comes in line %d of the README", n)
	}
}

// TestReadmeNamesTestsThatExist: the README says of each promise what shows it.
func TestReadmeNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile("`(\\./\\S+) -run (\\w+)(?: -long)?`").FindAllStringSubmatch(read(t, "README.md"), -1)
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

// TestPagesShowWhatIsCompiled: Go code of a page stands in a program or a test, too.
func TestPagesShowWhatIsCompiled(t *testing.T) {
	t.Parallel()
	block := regexp.MustCompile("(?s)```go\n(.*?)```")
	var source strings.Builder
	var pages []string
	walk(t, func(path string) {
		switch filepath.Ext(path) {
		case ".go":
			source.WriteString(withoutSpace(read(t, path)))
		case ".md":
			pages = append(pages, path)
		}
	})
	for _, page := range pages {
		for _, b := range block.FindAllStringSubmatch(read(t, page), -1) {
			if !strings.Contains(source.String(), withoutSpace(b[1])) {
				t.Errorf("%s has Go code that is compiled nowhere:\n%s", page, b[1])
			}
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^):#]+)\)`)
	code := regexp.MustCompile("(?s)```.*?```")
	walk(t, func(path string) {
		if filepath.Ext(path) != ".md" {
			return
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(read(t, path), ""), -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
			}
		}
	})
}

// walk calls f with each file of the repository.
func walk(t *testing.T, f func(path string)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			f(path)
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
