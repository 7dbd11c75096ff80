// Ecsdemo is a service of three verticles that talk across the tasks of an ECS
// service, and its rehearsal elsewhere: see package demo, which is all of it. This
// build knows no tables of leases; that of examples/ecsdemo/dynamodb does.
package main

import "github.com/runrig-go/runrig/examples/ecsdemo/demo"

func main() { demo.Main(nil) }
