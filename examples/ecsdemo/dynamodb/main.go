// Command dynamodb is ecsdemo with its leases in a table of DynamoDB, which
// RUNRIG_LEASES names: what the image has. It is a module of its own, as the SDK of
// DynamoDB is nothing that other programs need.
package main

import (
	"context"

	"github.com/runrig-go/runrig/examples/ecsdemo/demo"
	"github.com/runrig-go/runrig/verticle/lease"
	"github.com/runrig-go/runrig/verticle/lease/dynamodb"
)

func main() {
	demo.Main(func(ctx context.Context, table string) (lease.Store, error) { return dynamodb.Open(ctx, table) })
}
