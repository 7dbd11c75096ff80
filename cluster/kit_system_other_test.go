//go:build !(linux || darwin)

package cluster_test

import (
	"errors"
	"time"
)

// freeze stops the process, which notices nothing of it, until thaw.
func (p *process) freeze() { p.t.Helper(); p.t.Skip("this system stops no process") }
func (p *process) thaw()   {}

// limitFiles lets this process have n open files, and no more.
func limitFiles(uint64) error { return errors.ErrUnsupported }

// cpuTime is not told.
func cpuTime() time.Duration { return 0 }
