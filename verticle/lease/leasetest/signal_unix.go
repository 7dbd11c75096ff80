//go:build unix

package leasetest

import (
	"os"
	"syscall"
)

// What stops a process and lets it go on.
var sigStop, sigCont os.Signal = syscall.SIGSTOP, syscall.SIGCONT
