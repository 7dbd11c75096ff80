// Ecsdemo is a service of three verticles that talk across the tasks of an ECS
// service. HTTPVerticle answers the health check and, at each one, sends this
// task's IP over the bus to PointVerticle, by Send, and to BroadcastVerticle, by
// Publish; those two print their own IP and the one they received.
//
// Inside ECS it needs no configuration but the secret in RUNRIG_SECRET.
// Elsewhere it rehearses: it starts a fake of ECS and runs itself as the tasks.
// With -peers it is one node that knows the others by their addresses.
//
//	ecsdemo [-tasks N] [-for DURATION] [-kill DURATION] [-stop DURATION] [-gossip] [-bridge]
//	ecsdemo -deploy [-tasks N] [-bridge]
//	ecsdemo -peers HOST:PORT,… [-bind HOST:PORT] [-advertise HOST:PORT] [-http HOST:PORT] [-gossip]
//	ecsdemo healthcheck [-http HOST:PORT]
//	ecsdemo doctor [-http HOST:PORT] [-bind HOST:PORT]
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/examples/ecsdemo/rehearsal"
)

// secretVariable is where a task finds the cluster's secret.
const secretVariable = "RUNRIG_SECRET"

type settings struct {
	peers, bind, advertise, http string
	gossip, stream, rehearsed    bool
	calm                         <-chan struct{} // closed when the stream is to end
	rehearsal                    rehearsal.Config
}

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: shortTime})))
	args, command := os.Args[1:], ""
	if len(args) > 0 && (args[0] == "healthcheck" || args[0] == "doctor") {
		command, args = args[0], args[1:]
	}
	s := parse(args)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	run := s.run
	switch command {
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

func parse(args []string) settings {
	var s settings
	f := flag.NewFlagSet("ecsdemo", flag.ExitOnError)
	f.StringVar(&s.peers, "peers", "", "join the nodes at these `addresses` (host:port,host:port) instead of asking ECS")
	f.StringVar(&s.bind, "bind", "", "`address` (host:port) of the node, TCP and UDP; by default port 7946, on loopback where there is no "+secretVariable)
	f.StringVar(&s.advertise, "advertise", "", "`address` (host:port) at which other nodes reach this one, where it is another than -bind")
	f.StringVar(&s.http, "http", ":8080", "`address` (host:port) of GET /health")
	f.BoolVar(&s.gossip, "gossip", false, "publish over the gossip lane")
	f.BoolVar(&s.stream, "stream", false, "send and request all the time, and log the account of it; -deploy starts its tasks with it")
	f.BoolVar(&s.rehearsed, "rehearsed", false, "leave when standard input ends; the rehearsal starts its tasks with it")
	f.IntVar(&s.rehearsal.Tasks, "tasks", 3, "rehearse with this `number` of tasks")
	f.DurationVar(&s.rehearsal.For, "for", 0, "end the rehearsal after this `time`")
	f.DurationVar(&s.rehearsal.Kill, "kill", 0, "SIGKILL the oldest task this `time` after all are up")
	f.DurationVar(&s.rehearsal.Stop, "stop", 0, "SIGTERM the oldest task this `time` after all are up")
	f.BoolVar(&s.rehearsal.Bridge, "bridge", false, "rehearse with all tasks at 127.0.0.1, as in ECS's bridge mode")
	f.BoolVar(&s.rehearsal.Deploy, "deploy", false, "rehearse a deployment: replace all tasks one by one under a stream of messages, tell what became of them, and end")
	_ = f.Parse(args) // it exits on errors
	if f.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "ecsdemo: unexpected argument %q\n", f.Arg(0))
		f.Usage()
		os.Exit(2)
	}
	return s
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
		cluster: cluster.Config{Discovery: p, Secrets: cluster.SecretsFromEnv(secretVariable), Bind: s.bind, Advertise: s.advertise},
		listen:  s.http,
		gossip:  s.gossip,
		stream:  s.stream,
		calm:    s.calm,
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
	return task{cluster: c, listen: s.http, gossip: s.gossip, stream: s.stream, check: true}.run(ctx)
}

func (s settings) rehearse(ctx context.Context) error {
	c := s.rehearsal
	c.Out = os.Stdout
	if s.gossip {
		c.Args, c.Lossy = append(c.Args, "-gossip"), true
	}
	if c.Deploy {
		c.Args = append(c.Args, "-stream")
	}
	return rehearsal.Run(ctx, c)
}

// followParent calls leave when the process that started this one closes this
// one's standard input, or dies; the channel is closed then, or at the first
// line. An interrupt is then the parent's: a terminal sends it to both.
func followParent(leave func()) (calm <-chan struct{}) {
	signal.Ignore(os.Interrupt)
	line := make(chan struct{})
	go func() { // until the process ends
		in := bufio.NewReader(os.Stdin)
		_, _ = in.ReadString('\n')
		close(line)
		_, _ = io.Copy(io.Discard, in)
		leave()
	}()
	return line
}

// shortTime leaves the date out of a line's time.
func shortTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.String(slog.TimeKey, a.Value.Time().Format(time.TimeOnly+".000"))
	}
	return a
}
