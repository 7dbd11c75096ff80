//go:build !unix

package leasetest

import "os"

var sigStop, sigCont os.Signal
