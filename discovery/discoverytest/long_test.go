package discoverytest_test

import _ "github.com/runrig-go/runrig/discovery/internal/long" // go test ./... -long
