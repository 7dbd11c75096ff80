package bus_test

import _ "github.com/runrig-go/runrig/bus/internal/long" // go test ./... -long
