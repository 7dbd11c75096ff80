package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/runrig-go/runrig/cluster/internal/guard"
	"github.com/runrig-go/runrig/discovery"
)

const (
	deregisterTimeout = 3 * time.Second // also that of Close of a provider
	watchAgain        = 5 * time.Second // after a Watch that has returned
)

// A registration keeps this node's entry where others look for it, for as long as the
// node lives.
type registration struct {
	registrar discovery.Registrar
	self      discovery.Registration
	log       *slog.Logger
	news      seekerNews

	said bool // that it fails
	turn turn
}

// turn is held while a call of a provider's runs, also of one that does not heed its
// context.
type turn chan struct{}

// call calls a provider's function and does not wait for it beyond ctx. No other call
// of this turn begins before it has returned.
func (t turn) call(ctx context.Context, name string, f func() error) error {
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%s: the call before has not returned: %w", name, ctx.Err())
	}
	done := make(chan error, 1)
	go func() { // ends when f returns, as it must soon after ctx; one that does not holds up nobody
		err := guard.Call(name, f)
		<-t
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s has not returned: %w", name, ctx.Err())
	}
}

// run registers the node again and again until ctx ends, and then deregisters it.
func (r *registration) run(ctx context.Context) {
	pause := backoff{least: seekLeast, most: seekMost}
	for ctx.Err() == nil {
		wait := jitter(discovery.Heartbeat, 0.2)
		if err := r.register(ctx); err != nil {
			wait = pause.next()
		} else {
			pause.reset()
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	r.deregister(context.WithoutCancel(ctx))
}

func (r *registration) register(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err := r.turn.call(asking, "Register", func() error { return r.registrar.Register(asking, r.self) })
	if ctx.Err() != nil {
		return err
	}
	r.news.trouble(troubleRegistration, err)
	level := slog.LevelDebug
	switch {
	case err != nil && !r.said:
		level = slog.LevelWarn
	case err == nil && r.said:
		r.log.Info("this node is registered again", "address", r.self.Addr)
	}
	if r.said = err != nil; r.said {
		r.log.Log(ctx, level, "this node could not be registered with discovery, so that others may not find it; trying again",
			append(guard.Stack(err), "address", r.self.Addr, "err", err)...)
	}
	return err
}

func (r *registration) deregister(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, deregisterTimeout)
	defer cancel()
	if err := r.turn.call(ctx, "Deregister", func() error { return r.registrar.Deregister(ctx, r.self) }); err != nil {
		r.log.Warn("this node could not be deregistered from discovery, which forgets it later",
			append(guard.Stack(err), "address", r.self.Addr, "err", err)...)
	}
}

// watchDiscovery has a provider watch its answer until ctx ends.
func (n *Node) watchDiscovery(ctx context.Context, w discovery.Watcher) {
	calls := make(turn, 1)
	for ctx.Err() == nil {
		if err := calls.call(ctx, "Watch", func() error { return w.Watch(ctx, n.askNow) }); ctx.Err() == nil {
			n.log.Debug("discovery is not watched; trying again", "err", err)
		}
		select {
		case <-time.After(watchAgain):
		case <-ctx.Done():
		}
	}
}

// askNow makes the seeker ask discovery soon.
func (n *Node) askNow() {
	select {
	case n.wakeAsk <- struct{}{}:
	default:
	}
}

// closeDiscovery closes a provider that can be closed.
func (n *Node) closeDiscovery() error {
	c, ok := n.provider.(io.Closer)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), deregisterTimeout)
	defer cancel()
	return make(turn, 1).call(ctx, "Close of Config.Discovery", c.Close)
}

// startDiscovery starts the node's goroutines that deal with discovery. They end with
// ctx.
func (n *Node) startDiscovery(ctx context.Context, s *settings) {
	ctx = discovery.WithCluster(ctx, s.cluster)
	if r, ok := s.provider.(discovery.Registrar); ok {
		self := discovery.Registration{Cluster: s.cluster, ID: n.self.String(), Name: n.self.Name, Addr: n.self.Addr, Tags: n.self.Tags}
		keep := registration{registrar: r, self: self, log: s.log, news: n, turn: make(turn, 1)}
		n.wg.Go(func() { keep.run(ctx) })
	}
	if w, ok := s.provider.(discovery.Watcher); ok {
		n.wg.Go(func() { n.watchDiscovery(ctx, w) })
	}
	n.wg.Go(func() { n.seeker(s).run(ctx) })
}
