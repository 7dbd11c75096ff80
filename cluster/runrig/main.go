// Runrig shows what a cluster does, from a terminal, and sends it messages: see package
// command, which a program can also have in its own binary.
//
//	go install github.com/runrig-go/runrig/cluster/runrig@latest
//	runrig members -node 10.0.0.7:7946 -secret-file secret
package main

import (
	"os"

	"github.com/runrig-go/runrig/cluster/runrig/command"
)

func main() { os.Exit(command.Main(os.Args[1:])) }
