// What the repository is checked and generated with. It is a module of its own
// so that nothing of it reaches the go.sum of those who use the library.
module github.com/runrig-go/runrig/ci/tools

go 1.26.0

tool google.golang.org/protobuf/cmd/protoc-gen-go

require (
	github.com/bufbuild/protocompile v0.14.1
	google.golang.org/protobuf v1.36.12
)

require golang.org/x/sync v0.8.0 // indirect
