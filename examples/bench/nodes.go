package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// nodesCase measures how long a whole cluster takes to form, and what a node
// costs: all nodes are in one process.
func nodesCase(nodes int) *benchCase {
	return &benchCase{
		name: fmt.Sprintf("nodes/%d", nodes), group: "nodes",
		what:    fmt.Sprintf("%d nodes in one process until all links and routes are up", nodes),
		systems: onlyOurs, takes: 4 * time.Second, fresh: true, bare: true,
		run: func(ctx context.Context, f *fleet, _ *benchCase, _ time.Duration) (sample, error) {
			return runNodes(ctx, f, nodes)
		},
	}
}

func runNodes(ctx context.Context, f *fleet, nodes int) (s sample, err error) {
	p, err := f.spawn(localRole)
	if err != nil {
		return s, err
	}
	s.usage, err = f.measured(ctx, func() error {
		var m Made
		err := p.call(ctx, "Mesh", nodes, &m)
		s.count, s.elapsed, s.memory = m.Count, m.Elapsed, m.Memory
		s.p50 = float64(m.Elapsed.Nanoseconds()) / 1e3
		s.p99 = s.p50
		return err
	})
	return s, err
}

// Mesh starts nodes, each with a consumer, and waits until each knows those of
// all others.
func (n *Node) Mesh(count int, m *Made) error {
	before, start := memory(), time.Now()
	nodes := make(mesh, count)
	if err := nodes.start(0, nil); err != nil {
		return err
	}
	seed := []string{nodes[0].Addr()}
	if err := nodes.each(func(i int) error { return nodes.start(i, seed) }); err != nil {
		return err
	}
	if err := nodes.each(nodes.known); err != nil {
		return err
	}
	m.Count, m.Elapsed = int64(count), time.Since(start)
	m.Memory = float64(memory()-before) / float64(count)
	return nodes.each(nodes.ask)
}

type mesh []*runrig

// each does f for all nodes at once.
func (m mesh) each(f func(i int) error) error {
	errs := make([]error, len(m))
	var wg sync.WaitGroup
	for i := range m {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (m mesh) start(i int, seed []string) error {
	if m[i] != nil {
		return nil
	}
	t, err := newRunrig(context.Background(), Setup{System: runrigSystem, Role: fmt.Sprintf("node%d", i), Addrs: seed})
	if err != nil {
		return err
	}
	m[i] = t.(*runrig)
	return m[i].Answer(nodeAddress(i), func(body []byte) []byte { return body })
}

func nodeAddress(i int) string { return fmt.Sprintf("node.%d", i) }

// known waits until node i has all links and all others know its consumer.
func (m mesh) known(i int) error {
	if len(m[i].eb.Peers()) < len(m)-1 {
		if err := m[i].awaitLinks(context.Background(), len(m)-1); err != nil {
			return err
		}
	}
	return m[i].Known(context.Background())
}

// ask makes sure of it.
func (m mesh) ask(i int) error {
	_, err := m[i].Request(context.Background(), nodeAddress((i+1)%len(m)), newBody(16))
	return err
}
