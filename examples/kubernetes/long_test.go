package kubernetes_test

import _ "github.com/runrig-go/runrig/examples/internal/long" // go test ./... -long
