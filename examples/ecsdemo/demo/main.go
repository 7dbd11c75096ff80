// Package demo is the program ecsdemo: a service of three verticles that talk across the tasks of an ECS
// service. HTTPVerticle answers the health check and, at each one, sends this
// task's IP over the bus to PointVerticle, by Send, and to BroadcastVerticle, by
// Publish; those two print their own IP and the one they received. CounterVerticle
// counts the health checks of all tasks, at one of them, if there is a store for its
// lease.
//
// Inside ECS it needs no configuration but the secret in RUNRIG_SECRET.
// Elsewhere it rehearses: it starts a fake of ECS and runs itself as the tasks.
// With -peers it is one node that knows the others by their addresses.
//
//	ecsdemo [-tasks N] [-for DURATION] [-kill DURATION] [-stop DURATION] [-gossip] [-bridge] [-log]
//	ecsdemo -deploy [-tasks N] [-bridge] [-log]
//	ecsdemo -peers HOST:PORT,… [-bind HOST:PORT] [-advertise HOST:PORT] [-http HOST:PORT] [-gossip]
//	ecsdemo healthcheck [-http HOST:PORT]
//	ecsdemo doctor [-http HOST:PORT] [-bind HOST:PORT]
//	ecsdemo runrig VERB …      the command runrig, see package command: members, top, check …
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/runrig/command"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/ecs"
)

// secretVariable is where a task finds the cluster's secret.
const secretVariable = "RUNRIG_SECRET"

// Main runs the program with the arguments and the environment of this process, and
// ends it where it fails. open opens the store of leases that RUNRIG_LEASES names; where
// it is nil only the rehearsal has one.
func Main(open OpenStore) {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: shortTime})))
	args, verb := os.Args[1:], ""
	if len(args) > 0 && args[0] == "runrig" {
		os.Exit(command.Main(args[1:]))
	}
	if len(args) > 0 && (args[0] == "healthcheck" || args[0] == "doctor") {
		verb, args = args[0], args[1:]
	}
	s := parse(args)
	s.open = open
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	run := s.run
	switch verb {
	case "healthcheck":
		run = func(ctx context.Context) error { return checkHealth(ctx, s.http) }
	case "doctor":
		run = func(ctx context.Context) error { return examine(ctx, s, os.Stdout) }
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ecsdemo:", err)
		os.Exit(1)
	}
}

// run chooses what this process is.
func (s settings) run(ctx context.Context) error {
	if s.rehearsed {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		s.calm = followParent(cancel)
	}
	if s.peers != "" {
		return s.runStatic(ctx)
	}
	p, err := ecs.New(ctx, ecs.Config{})
	switch {
	case err == nil:
		return s.runOnECS(ctx, p)
	case errors.Is(err, ecs.ErrNotOnECS) && !s.rehearsed:
		return s.rehearse(ctx)
	}
	return err
}

// runOnECS is all there is inside ECS: the provider knows this task and finds
// the others.
func (s settings) runOnECS(ctx context.Context, p *ecs.Provider) error {
	return task{
		open:    s.open,
		cluster: cluster.Config{Discovery: p, Secrets: cluster.SecretsFromEnv(secretVariable), Bind: s.bind, Advertise: s.advertise},
		listen:  s.http,
		gossip:  s.gossip,
		stream:  s.stream,
		calm:    s.calm,
		revision: func() string {
			definition := p.Task().Definition
			return definition[strings.LastIndexByte(definition, ':')+1:]
		},
	}.run(ctx)
}

func (s settings) runStatic(ctx context.Context) error {
	peers := discovery.Static(strings.Split(s.peers, ",")...)
	if _, err := peers.Peers(ctx); err != nil { // a node would log it, and ask again for ever
		return fmt.Errorf("-peers: %w", err)
	}
	c := cluster.Config{Discovery: peers, Bind: s.bind, Advertise: s.advertise}
	if os.Getenv(secretVariable) != "" {
		c.Secrets = cluster.SecretsFromEnv(secretVariable)
	}
	return task{open: s.open, cluster: c, listen: s.http, gossip: s.gossip, stream: s.stream, check: true}.run(ctx)
}

// shortTime leaves the date out of a line's time.
func shortTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.String(slog.TimeKey, a.Value.Time().Format(time.TimeOnly+".000"))
	}
	return a
}
