package clustertest_test

import "github.com/runrig-go/runrig/cluster/internal/long" // go test ./... -long

func init() { long.Waiting() } // most tests here do
