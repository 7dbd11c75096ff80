package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
)

// runrig is a node of a cluster of runrig.
type runrig struct {
	eb   *bus.EventBus
	node *cluster.Node
	last *bus.Consumer
}

// newRunrig joins those that were started before, and waits for the links.
func newRunrig(ctx context.Context, s Setup) (transport, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	eb := bus.New(bus.WithLogger(log))
	c := cluster.Config{
		Name:      s.Role,
		Bind:      "127.0.0.1:0",
		Discovery: discovery.Static(s.Addrs...),
		Logger:    log,
	}
	if s.Keys != nil {
		c.Secrets = cluster.NewSecrets(s.Keys.Secret)
	}
	node, err := cluster.Join(ctx, eb, c)
	if err != nil {
		return nil, err
	}
	r := &runrig{eb: eb, node: node}
	if len(eb.Peers()) < len(s.Addrs) {
		return r, r.awaitLinks(ctx, len(s.Addrs))
	}
	return r, nil
}

func (r *runrig) awaitLinks(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for range r.node.Events(ctx) {
		if len(r.eb.Peers()) >= n {
			return nil
		}
	}
	return fmt.Errorf("runrig: %d of %d links are up", len(r.eb.Peers()), n)
}

func (r *runrig) Addr() string { return r.node.Self().Addr }

func (r *runrig) Consume(address string, f func(body []byte)) error {
	return r.register(address, bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
		f(m.Body)
		return nil
	}))
}

func (r *runrig) Answer(address string, f func(body []byte) []byte) error {
	return r.register(address, bus.Respond(func(_ context.Context, body []byte) ([]byte, error) {
		return f(body), nil
	}))
}

func (r *runrig) register(address string, h bus.Handler) (err error) {
	c, err := r.eb.Consume(address, h)
	if err == nil {
		r.last = c
	}
	return err
}

// Known waits for the last consumer: they become known in order.
func (r *runrig) Known(ctx context.Context) error { return r.last.Known(ctx) }

func (r *runrig) Send(address string, body []byte) error {
	return notYet(r.eb.Send(context.Background(), address, body))
}

func (r *runrig) Publish(address string, body []byte) error {
	return notYet(r.eb.Publish(context.Background(), address, body))
}

func (r *runrig) Request(ctx context.Context, address string, body []byte) ([]byte, error) {
	return r.request(ctx, address, body)
}

func (r *runrig) RequestWithin(d time.Duration, address string, body []byte) ([]byte, error) {
	return r.request(context.Background(), address, body, bus.Within(d))
}

func (r *runrig) request(ctx context.Context, address string, body []byte, opts ...bus.CallOption) ([]byte, error) {
	m, err := r.eb.Request(ctx, address, body, opts...)
	if err != nil {
		return nil, notYet(err)
	}
	return m.Body, nil
}

// notYet tells the limit of the library from a failure.
func notYet(err error) error {
	if err != nil && errors.Is(err, bus.ErrTooLarge) {
		return fmt.Errorf("%w: %w", errNotYet, err)
	}
	return err
}

func (r *runrig) Flush() error { return nil }
