package dashboard_test

import _ "github.com/runrig-go/runrig/cluster/internal/long" // go test ./... -long
