package demo

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// The kinds of the stream, which are also the addresses it goes to.
const (
	streamSend    = "ecsdemo.stream.send"
	streamRequest = "ecsdemo.stream.request"
)

// The stream comes in bursts, so that a consumer that closes as a
// rule has something waiting.
const (
	burst      = 24
	burstEvery = 200 * time.Millisecond
	work       = 4 * time.Millisecond // of a handler
	tellEvery  = 200 * time.Millisecond
)

// stream is a steady flow of sends and requests from this task to all, and the
// account of it. It shows what a deployment does to a service that is in use.
type stream struct {
	local string          // this task's IP
	until <-chan struct{} // closed when there is to be no more
	kinds map[string]*flow
}

// flow is the account of one kind.
type flow struct {
	failed        atomic.Uint64
	sent, handled account
}

// account counts messages. The sum tells whether two accounts with the same
// number of messages have the same messages.
type account struct{ n, sum atomic.Uint64 }

func (a *account) add(g greeting) {
	h := fnv.New64a()
	_ = json.NewEncoder(h).Encode(g) // a hash takes everything
	a.sum.Add(h.Sum64())
	a.n.Add(1)
}

func newStream(local string, until <-chan struct{}) *stream {
	return &stream{local, until, map[string]*flow{streamSend: {}, streamRequest: {}}}
}

// verticles are the receiving and the sending end. That is undeployed first.
func (s *stream) verticles() []verticle.Verticle {
	return []verticle.Verticle{verticle.Func(s.receive), verticle.Func(s.emit)}
}

func (s *stream) receive(_ context.Context, d *verticle.Deployment) error {
	for address, f := range s.kinds {
		_, err := d.Consume(address, bus.Receive(func(_ context.Context, g greeting) error {
			<-time.After(work)
			f.handled.add(g)
			return nil
		}))
		if err != nil {
			return err
		}
	}
	return nil
}

// emit sends and requests, and tells the account, until the verticle is
// undeployed. What it has begun it ends.
func (s *stream) emit(_ context.Context, d *verticle.Deployment) error {
	eb := d.EventBus()
	send := func(ctx context.Context, g greeting) error { return eb.Send(ctx, streamSend, g) }
	request := func(ctx context.Context, g greeting) error {
		_, err := eb.Request(ctx, streamRequest, g)
		return err
	}
	d.Go(func(ctx context.Context) error {
		var flows sync.WaitGroup
		flows.Go(func() { s.flow(ctx, streamSend, send) })
		flows.Go(func() { s.flow(ctx, streamRequest, request) })
		flows.Wait()
		return nil
	})
	d.Go(func(ctx context.Context) error {
		each(ctx, nil, tellEvery, s.tell)
		return nil
	})
	return nil
}

// flow gives numbered messages to send, in bursts.
func (s *stream) flow(ctx context.Context, kind string, send func(context.Context, greeting) error) {
	g := greeting{IP: s.local}
	whole := context.WithoutCancel(ctx)
	each(ctx, s.until, burstEvery, func() {
		for range burst {
			g.N++
			if err := send(whole, g); err != nil {
				s.kinds[kind].failed.Add(1)
				slog.Warn("not sent", "address", kind, "local", s.local, "n", g.N, "err", err)
			} else {
				s.kinds[kind].sent.add(g)
			}
		}
	})
}

// tell logs the account: "sent" is without what failed.
func (s *stream) tell() {
	for kind, f := range s.kinds {
		slog.Info("stream", "kind", kind, "local", s.local, "failed", f.failed.Load(), "sent", f.sent.n.Load(), "sent.sum", f.sent.sum.Load(),
			"handled", f.handled.n.Load(), "handled.sum", f.handled.sum.Load())
	}
}

// each calls f at intervals until ctx ends or until is closed.
func each(ctx context.Context, until <-chan struct{}, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-until:
			return
		case <-tick.C:
			f()
		}
	}
}
