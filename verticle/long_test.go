package verticle_test

import _ "github.com/runrig-go/runrig/verticle/internal/long" // go test ./... -long
