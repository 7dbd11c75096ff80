package main

import (
	"context"
	"time"
)

// startCase measures how soon a process that starts can use the system: from
// before its first call to the reply of a consumer in another process that is
// up. The start of the process itself, which is the same for all, is left out.
func startCase() *benchCase {
	return &benchCase{
		name: "start", group: "start", what: "second process's start to its first reply from the other",
		systems: all, receivers: 1, slices: 2, takes: 100 * time.Millisecond, fresh: true, bare: true, prepare: prepareEcho, run: runStart,
	}
}

func runStart(ctx context.Context, f *fleet, _ *benchCase, _ time.Duration) (s sample, err error) {
	p, err := f.spawn(senderRole)
	if err != nil {
		return s, err
	}
	s.usage, err = f.measured(ctx, func() error {
		var d time.Duration
		err := p.call(ctx, "First", f.setup(senderRole), &d)
		s.count, s.elapsed = 1, d
		s.p50 = float64(d.Nanoseconds()) / 1e3
		s.p99 = s.p50
		return err
	})
	return s, err
}
