package leases_test

import "github.com/runrig-go/runrig/examples/internal/long" // go test ./... -long

func init() { long.Waiting() } // most tests here do
