package lease_test

import "github.com/runrig-go/runrig/verticle/internal/long" // go test ./... -long

func init() { long.Waiting() } // most tests here do
