package demo

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/inspect"
	"github.com/runrig-go/runrig/verticle"
)

// task is one task of the service: a node of the cluster with three verticles.
type task struct {
	cluster cluster.Config
	listen  string // where HTTPVerticle listens
	gossip  bool
	check   bool // check the own health, where no ECS does

	open     OpenStore     // nil: no store can be opened by name
	revision func() string // of the program, once it has joined; nil: it is not known

	stream bool            // send and request all the time
	calm   <-chan struct{} // closed when the stream is to end
}

// run runs the task until ctx ends and then leaves gracefully.
func (t task) run(ctx context.Context) error {
	store, err := openLeases(ctx, t.open)
	if err != nil {
		return err
	}
	eb := bus.New()
	t.cluster.Admin = inspect.Handler // for the command runrig
	node, err := cluster.Join(ctx, eb, t.cluster)
	if err != nil {
		return err
	}
	local := ownName(node.Self().Addr)
	web := &HTTPVerticle{Listen: t.listen, Local: local, Gossip: t.gossip, Peers: serveInspection(node)}
	parts := []verticle.Verticle{&PointVerticle{local}, &BroadcastVerticle{local}}
	if store != nil {
		parts = append(parts, t.counter(store, local))
	}
	parts = append(parts, web) // then the task is healthy
	if t.check {
		parts = append(parts, checkOwnHealth(t.listen))
	}
	flow := newStream(local, t.calm)
	if t.stream {
		parts = append(parts, flow.verticles()...)
	}
	err = verticle.Run(ctx, eb, parts...)
	err = errors.Join(err, node.Close())
	if t.stream {
		flow.tell()
	}

	s := eb.Stats()
	slog.Info("stopped", "local", local, "sent", web.sent.Load(), "failed", web.failed.Load(),
		"bus.sent", s.Sent, "bus.settled", s.Settled, "bus.bounced", s.Bounced, "bus.unknown", s.Unknown, "bus.deadletters", s.DeadLetters)
	return err
}

// ownName is how this task calls itself: its IP and, where it does not have the
// usual port to itself, the port too.
func ownName(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port != strconv.Itoa(cluster.DefaultPort) {
		return addr
	}
	return host
}
