module github.com/runrig-go/runrig

go 1.26.0
