// Command protogen generates Go code from the .proto files of a git repository:
// it compiles all of them, without protoc, and has protoc-gen-go write a .pb.go
// file beside each that has the option go_package. One without it describes code
// that is written by hand. It runs in a module that has protoc-gen-go as a tool.
//
//	protogen -root DIR [-check]
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	root := flag.String("root", ".", "the repository's top directory; files are named relative to it")
	check := flag.Bool("check", false, "write nothing, fail if a file is stale")
	flag.Parse()
	if err := run(context.Background(), *root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root string, check bool) error {
	files, err := protoFiles(ctx, root)
	if err != nil || len(files) == 0 {
		return err
	}
	req, err := compile(ctx, root, files)
	if err != nil || len(req.FileToGenerate) == 0 {
		return err
	}
	generated, err := plugin(ctx, req)
	if err != nil {
		return err
	}
	if check {
		return compare(root, generated)
	}
	return write(root, generated)
}

// protoFiles lists the .proto files that git has, or would add.
func protoFiles(ctx context.Context, root string) ([]string, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	// A CI machine may run this as another user than the one who owns the files.
	cmd := exec.CommandContext(ctx, "git", "-c", "safe.directory="+abs, "ls-files", "-z",
		"--cached", "--others", "--exclude-standard", "--deduplicate", "*.proto")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files in %s: %w", abs, err)
	}
	var files []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if name == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			files = append(files, name)
		}
	}
	return files, nil
}

// compile makes what a proto compiler hands to its plug-ins.
func compile(ctx context.Context, root string, files []string) (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	linked, err := compiler.Compile(ctx, files...)
	if err != nil {
		return nil, err
	}
	req := &pluginpb.CodeGeneratorRequest{Parameter: proto.String("paths=source_relative")}
	seen := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() { // what a file imports stands before it
			add(f.Imports().Get(i).FileDescriptor)
		}
		req.ProtoFile = append(req.ProtoFile, protoutil.ProtoFromFileDescriptor(f))
	}
	for _, f := range linked {
		if hasGoPackage(f) {
			req.FileToGenerate = append(req.FileToGenerate, f.Path())
			add(f)
		}
	}
	return req, nil
}

func hasGoPackage(f protoreflect.FileDescriptor) bool {
	o, ok := f.Options().(*descriptorpb.FileOptions)
	return ok && o.GetGoPackage() != ""
}

// plugin returns the files that protoc-gen-go makes of the request, by name.
func plugin(ctx context.Context, req *pluginpb.CodeGeneratorRequest) (map[string]string, error) {
	in, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "tool", "protoc-gen-go")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go tool protoc-gen-go: %w", err)
	}
	var resp pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &resp); err != nil {
		return nil, fmt.Errorf("answer of protoc-gen-go: %w", err)
	}
	if resp.Error != nil {
		return nil, fmt.Errorf("protoc-gen-go: %s", resp.GetError())
	}
	generated := make(map[string]string)
	for _, f := range resp.GetFile() {
		generated[f.GetName()] = f.GetContent()
	}
	return generated, nil
}

// compare returns an error that names the files that are not as generated.
func compare(root string, generated map[string]string) error {
	var stale []string
	for name, want := range generated {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		if string(got) != want {
			stale = append(stale, name)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	slices.Sort(stale)
	return fmt.Errorf("stale: %s; run .ci/generate and commit what it writes", strings.Join(stale, ", "))
}

func write(root string, generated map[string]string) error {
	for name, content := range generated {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
