package bridge_test

import "github.com/runrig-go/runrig/bus/internal/long" // go test ./... -long

func init() { long.Waiting() } // most tests here do
