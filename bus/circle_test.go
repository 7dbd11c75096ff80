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
	"path/filepath"
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
	circle := largest(circles(loadSource(t).typeGraph()))
	if n := len(circle); n != largestCircle {
		t.Errorf("%d types reach each other: %s\nlargestCircle is %d: take one out, or lower it", n, strings.Join(circle, " "), largestCircle)
	}
}

// mostMethods is how many methods a type may have.
const mostMethods = 40

func TestMethodsOfTypes(t *testing.T) {
	t.Parallel()
	n := map[string]int{}
	for f := range loadSource(t).calls() {
		if of, _, ok := strings.Cut(f, "."); ok {
			n[of]++
		}
	}
	for name, methods := range n {
		if methods > mostMethods {
			t.Errorf("%s has %d methods: make a type of a part of it, to have at most %d", name, methods, mostMethods)
		}
	}
}

// The ground is files that name nothing of the package's but each other.
const ground = "clock crew departure ids shrink signal warnings window work"

// never says which parts of the package name nothing of which others. A part is the
// files whose names begin with a word; INSIDE.md draws them.
var never = []struct{ part, of string }{
	{"consumer", "link"},
	{"message", "link"},
	{"message", "ring"},
	{"scope", "link"},
	{"scope", "ring"},
	{"link", "scope"},
}

func TestParts(t *testing.T) {
	t.Parallel()
	for n := range loadSource(t).names() {
		from, to := part(n.in), part(n.of)
		for _, rule := range never {
			if from == rule.part && to == rule.of {
				t.Errorf("%s.go names %s, of %s.go: no file of %s names anything of %s", n.in, n.name, n.of, from, to)
			}
		}
		if isGround(n.in) && !isGround(n.of) {
			t.Errorf("%s.go names %s, of %s.go: the ground names nothing of others", n.in, n.name, n.of)
		}
	}
}

// part returns the part that a file is of: the first word of its name.
func part(file string) string {
	p, _, _ := strings.Cut(file, "_")
	return p
}

func isGround(file string) bool { return slices.Contains(strings.Fields(ground), file) }

// source is the package, parsed and checked.
type source struct {
	fset  *token.FileSet
	files []*ast.File
	pkg   *types.Package
	uses  map[*ast.Ident]types.Object
}

func loadSource(t *testing.T) *source {
	t.Helper()
	s := &source{fset: token.NewFileSet(), uses: map[*ast.Ident]types.Object{}}
	for _, name := range goList(t, "{{range .GoFiles}}{{println .}}{{end}}", ".") {
		f, err := parser.ParseFile(s.fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		s.files = append(s.files, f)
	}
	exports := map[string]string{}
	for _, line := range goList(t, "{{.ImportPath}} {{.Export}}", "-export", "-deps", ".") {
		path, file, _ := strings.Cut(line, " ")
		exports[path] = file
	}
	conf := types.Config{Importer: importer.ForCompiler(s.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	var err error
	if s.pkg, err = conf.Check("bus", s.fset, s.files, &types.Info{Uses: s.uses}); err != nil {
		t.Fatal(err)
	}
	return s
}

// naming is that a file names something that another declares.
type naming struct{ in, of, name string }

// names returns what files name of others: types, functions, methods, fields, constants
// and variables of the package.
func (s *source) names() map[naming]bool {
	all := map[naming]bool{}
	for id, o := range s.uses {
		if o.Pkg() != s.pkg || o.Parent() != nil && o.Parent() != s.pkg.Scope() {
			continue // another package's, or local
		}
		if in, of := s.file(id.Pos()), s.file(o.Pos()); in != of {
			all[naming{in, of, o.Name()}] = true
		}
	}
	return all
}

func (s *source) file(pos token.Pos) string {
	return strings.TrimSuffix(filepath.Base(s.fset.Position(pos).Filename), ".go")
}

// typeGraph returns, by the name of each type that the package declares, the names of
// those that its declaration names.
func (s *source) typeGraph() map[string][]string {
	graph := map[string][]string{}
	for _, f := range s.files {
		for _, d := range f.Decls {
			decl, _ := d.(*ast.GenDecl)
			if decl == nil || decl.Tok != token.TYPE {
				continue
			}
			for _, sp := range decl.Specs {
				spec := sp.(*ast.TypeSpec)
				graph[spec.Name.Name] = s.namedBy(spec)
			}
		}
	}
	return graph
}

// namedBy returns the types of the package that a declaration names.
func (s *source) namedBy(spec *ast.TypeSpec) (names []string) {
	ast.Inspect(spec, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if o, ok := s.uses[id].(*types.TypeName); ok && o.Parent() == s.pkg.Scope() {
				names = append(names, o.Name())
			}
		}
		return true
	})
	return names
}

// calls returns, by the name of each function, the names of the functions that it calls, those
// of methods behind their receiver's type. A method of an interface stands for the methods of
// all types that have that name.
func (s *source) calls() map[string]map[string]bool {
	methods := s.methods()
	all := map[string]map[string]bool{}
	for _, file := range s.files {
		for _, d := range file.Decls {
			decl, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			called := map[string]bool{}
			ast.Inspect(decl.Body, func(n ast.Node) bool {
				id, _ := n.(*ast.Ident)
				if f, ok := s.uses[id].(*types.Func); ok {
					called[funcName(f)] = true
					if r := f.Signature().Recv(); r != nil && types.IsInterface(r.Type()) {
						for _, name := range methods[f.Name()] {
							called[name] = true
						}
					}
				}
				return true
			})
			all[declName(decl)] = called
		}
	}
	return all
}

// methods returns the methods of the package's types by their names.
func (s *source) methods() map[string][]string {
	all := map[string][]string{}
	for _, name := range s.pkg.Scope().Names() {
		if t, ok := s.pkg.Scope().Lookup(name).Type().(*types.Named); ok {
			for m := range t.Methods() {
				all[m.Name()] = append(all[m.Name()], funcName(m))
			}
		}
	}
	return all
}

func funcName(f *types.Func) string {
	r := f.Signature().Recv()
	if r == nil {
		return f.Name()
	}
	t := r.Type()
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := t.(*types.Named); ok {
		return n.Obj().Name() + "." + f.Name()
	}
	return f.Name()
}

func declName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	t := d.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + d.Name.Name
	}
	return d.Name.Name
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
