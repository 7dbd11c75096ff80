package main

import (
	"context"
	"fmt"
	"time"
)

// idleCase measures what a consumer costs that nothing is sent to.
func idleCase(consumers int) *benchCase {
	return &benchCase{
		name: "idle", group: "idle", what: fmt.Sprintf("%d idle consumers, bytes of heap and stack of each", consumers),
		systems: all, receivers: 1, takes: time.Second, fresh: true,
		run: func(ctx context.Context, f *fleet, _ *benchCase, _ time.Duration) (sample, error) {
			return runIdle(ctx, f, consumers)
		},
	}
}

func runIdle(ctx context.Context, f *fleet, consumers int) (s sample, err error) {
	s.usage, err = f.measured(ctx, func() error {
		var m Made
		err := f.receivers[0].call(ctx, "Idle", consumers, &m)
		s.count, s.elapsed, s.memory = m.Count, m.Elapsed, m.Memory
		return err
	})
	return s, err
}

// Made is what came of making many things.
type Made struct {
	Count   int64
	Elapsed time.Duration
	Memory  float64 // bytes of each
}

// Idle registers consumers that nothing is sent to and waits until all linked
// processes know them.
func (n *Node) Idle(count int, m *Made) error {
	addresses := make([]string, count)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("idle.%06d", i)
	}
	before, start := memory(), time.Now()
	for _, a := range addresses {
		if err := n.t.Consume(a, func([]byte) {}); err != nil {
			return err
		}
	}
	if err := n.t.Known(context.Background()); err != nil {
		return err
	}
	m.Count, m.Elapsed = int64(count), time.Since(start)
	m.Memory = float64(memory()-before) / float64(len(addresses))
	return nil
}
