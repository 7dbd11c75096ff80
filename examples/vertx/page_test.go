package main

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// TestEveryBehaviourHasARow: 102 of them, in order, each with what is done here,
// and with tests that exist.
func TestEveryBehaviourHasARow(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile("`([a-z/]+)\\.((?:Test|Fuzz|Example)\\w*)`")
	told := regexp.MustCompile("\\(`go doc \\./([\\w/]+)(?: ([\\w.]+))?`\\)$")
	known := map[string][]string{} // by directory
	next := 1
	for line := range strings.Lines(read(t, "BEHAVIOURS.md")) {
		var n int
		if _, err := fmt.Sscanf(line, "| %d |", &n); err != nil {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if n != next || len(cells) != 4 {
			t.Fatalf("row %d has %d cells and stands where %d should", n, len(cells), next)
		}
		next++
		here, tests := strings.TrimSpace(cells[2]), named.FindAllStringSubmatch(cells[3], -1)
		same := strings.HasPrefix(here, "same")
		switch {
		case !same && !strings.HasPrefix(here, "instead: "):
			t.Errorf("row %d says neither that it is the same nor what there is instead", n)
		case !same && len(told.FindAllString(here, -1)) != 1:
			t.Errorf("row %d does not name the one place where go doc says what there is instead", n)
		case same && len(tests) == 0:
			t.Errorf("row %d says that it is the same and names no test", n)
		}
		if strings.Count(cells[3], "`") != 2*len(tests) {
			t.Errorf("row %d names tests in another way than `package.TestName`", n)
		}
		if m := told.FindStringSubmatch(here); m != nil && m[2] != "" && !slices.Contains(exportsOf(t, m[1]), m[2]) {
			t.Errorf("row %d names %s of %s, which is not there", n, m[2], m[1])
		}
		for _, m := range tests {
			if known[m[1]] == nil {
				known[m[1]] = testsIn(t, m[1])
			}
			if !slices.Contains(known[m[1]], m[2]) {
				t.Errorf("row %d names %s of %s, which is not there", n, m[2], m[1])
			}
		}
	}
	if next != 103 {
		t.Errorf("the last row is %d", next-1)
	}
}

// testsIn returns the names of the tests in a directory of the repository.
func testsIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("no tests in %s: %v", dir, err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names
}

// exportsOf returns what a package exports: functions, types, their methods, and
// variables.
func exportsOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	pkg, err := build.ImportDir(filepath.Join(root, dir), 0)
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	set := token.NewFileSet()
	for _, name := range pkg.GoFiles {
		f, err := parser.ParseFile(set, filepath.Join(root, dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(set, files, pkg.ImportPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range p.Vars {
		names = append(names, v.Names...)
	}
	for _, f := range p.Funcs {
		names = append(names, f.Name)
	}
	for _, ty := range p.Types {
		names = append(names, ty.Name)
		for _, f := range ty.Funcs {
			names = append(names, f.Name)
		}
		for _, m := range ty.Methods {
			names = append(names, ty.Name+"."+m.Name)
		}
	}
	return names
}

// TestPageShowsThePrograms: what the page shows and counts is what is here.
func TestPageShowsThePrograms(t *testing.T) {
	t.Parallel()
	page, java, here := read(t, "README.md"), read(t, "First.java"), read(t, "main.go")
	for language, code := range map[string]string{"java": java, "go": here} {
		if !strings.Contains(page, "```"+language+"\n"+code+"```") {
			t.Errorf("the page's %s program is not the one in its file", language)
		}
	}
	if want := fmt.Sprintf("| %d | %d |", strings.Count(java, "\n"), strings.Count(here, "\n")); !strings.Contains(page, want) {
		t.Errorf("the page does not say that the programs have %s lines", want)
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
