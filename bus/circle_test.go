package bus_test

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// largestCircle is how many types of the package may all reach each other through
// what they are declared with. None of them can be understood without the others, so
// this number goes down, never up.
const largestCircle = 7

func TestCircleOfTypes(t *testing.T) {
	t.Parallel()
	circle := largest(circles(typeGraph(t)))
	if n := len(circle); n != largestCircle {
		t.Errorf("%d types reach each other: %s\nlargestCircle is %d: take one out, or lower it", n, strings.Join(circle, " "), largestCircle)
	}
}

// typeGraph returns, by the name of each type that the package declares, the names of
// those that its declaration names.
func typeGraph(t *testing.T) map[string][]string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range goList(t, "{{range .GoFiles}}{{println .}}{{end}}", ".") {
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	exports := map[string]string{}
	for _, line := range goList(t, "{{.ImportPath}} {{.Export}}", "-export", "-deps", ".") {
		path, file, _ := strings.Cut(line, " ")
		exports[path] = file
	}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	pkg, err := conf.Check("bus", fset, files, info)
	if err != nil {
		t.Fatal(err)
	}
	graph := map[string][]string{}
	for _, f := range files {
		for _, d := range f.Decls {
			decl, _ := d.(*ast.GenDecl)
			if decl == nil || decl.Tok != token.TYPE {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.TypeSpec)
				graph[spec.Name.Name] = named(spec, pkg, info)
			}
		}
	}
	return graph
}

// named returns the types of the package that a declaration names.
func named(spec *ast.TypeSpec, pkg *types.Package, info *types.Info) (names []string) {
	ast.Inspect(spec, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if o, ok := info.Uses[id].(*types.TypeName); ok && o.Parent() == pkg.Scope() {
				names = append(names, o.Name())
			}
		}
		return true
	})
	return names
}

func goList(t *testing.T, format string, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-f", format}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}

// circles returns the strongly connected components of a graph (Tarjan).
func circles(graph map[string][]string) (all [][]string) {
	index, low := map[string]int{}, map[string]int{}
	var stack []string
	var visit func(v string)
	visit = func(v string) {
		index[v] = len(index) + 1
		low[v] = index[v]
		stack = append(stack, v)
		for _, w := range graph[v] {
			if index[w] == 0 {
				visit(w)
			}
			if slices.Contains(stack, w) {
				low[v] = min(low[v], low[w])
			}
		}
		if low[v] == index[v] {
			at := slices.Index(stack, v)
			all = append(all, slices.Clone(stack[at:]))
			stack = stack[:at]
		}
	}
	for v := range graph {
		if index[v] == 0 {
			visit(v)
		}
	}
	return all
}

func largest(circles [][]string) []string {
	c := slices.MaxFunc(circles, func(a, b []string) int { return len(a) - len(b) })
	slices.Sort(c)
	return c
}
