// Command api compares what the packages of the repository export with what
// .ci/api says that they do, one line for each name, field and method. A line of
// it that is true no more is a change that can break programs, and an error. Lines
// that are missing there are told. With -w it writes the file: whoever does has
// decided to break programs, or promises to keep what is new.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	root := flag.String("root", "../..", "the repository")
	write := flag.Bool("w", false, "write .ci/api")
	flag.Parse()
	if err := run(*root, *write); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}

func run(root string, write bool) error {
	now, err := api(root)
	if err != nil {
		return err
	}
	file := filepath.Join(root, ".ci", "api")
	if write {
		return os.WriteFile(file, []byte(strings.Join(now, "\n")+"\n"), 0o644)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before := strings.Split(strings.TrimSpace(string(text)), "\n")
	gone, added := without(before, now), without(now, before)
	for _, line := range gone {
		fmt.Println("-", line)
	}
	for _, line := range added {
		fmt.Println("+", line)
	}
	if len(gone) > 0 {
		return fmt.Errorf("%d lines of .ci/api are true no more, which can break programs; if it has to be: go -C .ci/tools run ./api -w", len(gone))
	}
	return nil
}

func without(lines, others []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return slices.Contains(others, line) })
}

// api returns what all modules export, but for programs, examples and internal
// packages.
func api(root string) (lines []string, err error) {
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != root && (strings.HasPrefix(e.Name(), ".") || e.Name() == "examples"):
			return fs.SkipDir
		case e.Name() != "go.mod":
			return nil
		}
		of, err := module(filepath.Dir(path))
		lines = append(lines, of...)
		return err
	})
	slices.Sort(lines)
	return lines, err
}

// module returns what the packages of a module export.
func module(dir string) (lines []string, err error) {
	list := exec.Command("go", "list", "-export", "-deps", "-f",
		`{{.ImportPath}}{{"\t"}}{{.Export}}{{"\t"}}{{.Name}}{{"\t"}}{{with .Module}}{{.Main}}{{end}}`, "./...")
	list.Dir, list.Stderr = dir, os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w", dir, err)
	}
	exports := map[string]string{}
	var paths []string
	for in := bufio.NewScanner(bytes.NewReader(out)); in.Scan(); {
		f := strings.Split(in.Text(), "\t")
		exports[f[0]] = f[1]
		if f[2] != "main" && f[3] == "true" && !slices.Contains(strings.Split(f[0], "/"), "internal") && !strings.Contains(f[0], "/examples/") {
			paths = append(paths, f[0])
		}
	}
	from := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for _, path := range paths {
		p, err := from.Import(path)
		if err != nil {
			return nil, err
		}
		w := writer{pkg: p}
		w.all()
		lines = append(lines, w.lines...)
	}
	return lines, nil
}

// A writer writes what a package exports.
type writer struct {
	pkg   *types.Package
	lines []string
}

func (w *writer) add(format string, args ...any) {
	_, path, _ := strings.Cut(w.pkg.Path(), "runrig/")
	w.lines = append(w.lines, path+": "+fmt.Sprintf(format, args...))
}

func (w *writer) all() {
	for _, name := range w.pkg.Scope().Names() {
		if !token.IsExported(name) {
			continue
		}
		switch o := w.pkg.Scope().Lookup(name).(type) {
		case *types.Const:
			w.add("const %s %s = %s", name, w.typ(o.Type()), o.Val().ExactString())
		case *types.Var:
			w.add("var %s %s", name, w.typ(o.Type()))
		case *types.Func:
			w.add("func %s%s", name, w.signature(o.Signature()))
		case *types.TypeName:
			w.typeName(o)
		}
	}
}

func (w *writer) typeName(o *types.TypeName) {
	named, ok := o.Type().(*types.Named)
	if o.IsAlias() || !ok {
		w.add("type %s = %s", o.Name(), w.typ(types.Unalias(o.Type())))
		return
	}
	name := o.Name() + w.params(named.TypeParams())
	switch t := named.Underlying().(type) {
	case *types.Struct:
		w.fields(name, t)
	case *types.Interface:
		w.add("type %s interface{ %s }", name, strings.Join(w.methodsOf(t), "; "))
		return
	default:
		w.add("type %s %s", name, w.typ(t))
	}
	byValue, all := types.NewMethodSet(named), types.NewMethodSet(types.NewPointer(named))
	for s := range all.Methods() {
		receiver := "*" + o.Name()
		if byValue.Lookup(w.pkg, s.Obj().Name()) != nil {
			receiver = o.Name()
		}
		if s.Obj().Exported() {
			w.add("func (%s) %s%s", receiver, s.Obj().Name(), w.signature(s.Type().(*types.Signature)))
		}
	}
}

// fields writes a struct. That it can be compared is part of what it promises.
func (w *writer) fields(name string, t *types.Struct) {
	w.add("type %s struct", name)
	if types.Comparable(t) {
		w.add("type %s struct, comparable", name)
	}
	for f := range t.Fields() {
		switch {
		case f.Exported() && f.Embedded():
			w.add("type %s struct, embeds %s", name, w.typ(f.Type()))
		case f.Exported():
			w.add("type %s struct, %s %s", name, f.Name(), w.typ(f.Type()))
		}
	}
}

// methodsOf returns all methods of an interface on one line, as whoever implements
// it has to have all.
func (w *writer) methodsOf(t *types.Interface) (list []string) {
	sealed := false
	for m := range t.Methods() {
		if m.Exported() {
			list = append(list, m.Name()+w.signature(m.Signature()))
		}
		sealed = sealed || !m.Exported()
	}
	if sealed {
		list = append(list, "sealed")
	}
	return list
}

// signature leaves out the names of parameters.
func (w *writer) signature(s *types.Signature) string {
	var in, out []string
	for v := range s.Params().Variables() {
		in = append(in, w.typ(v.Type()))
	}
	if s.Variadic() {
		in[len(in)-1] = "..." + strings.TrimPrefix(in[len(in)-1], "[]")
	}
	for v := range s.Results().Variables() {
		out = append(out, w.typ(v.Type()))
	}
	result := strings.Join(out, ", ")
	if len(out) > 1 {
		result = "(" + result + ")"
	}
	return strings.TrimSpace(fmt.Sprintf("%s(%s) %s", w.params(s.TypeParams()), strings.Join(in, ", "), result))
}

func (w *writer) params(list *types.TypeParamList) string {
	var all []string
	for p := range list.TypeParams() {
		all = append(all, p.Obj().Name()+" "+w.typ(p.Constraint()))
	}
	if all == nil {
		return ""
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func (w *writer) typ(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string {
		if p == w.pkg {
			return ""
		}
		return p.Name()
	})
}
