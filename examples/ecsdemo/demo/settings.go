package demo

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/runrig-go/runrig/examples/ecsdemo/rehearsal"
)

type settings struct {
	open                         OpenStore // of leases; nil: there is none but the rehearsal's
	peers, bind, advertise, http string
	gossip, stream, rehearsed    bool
	log                          bool            // lines, no table
	calm                         <-chan struct{} // closed when the stream is to end
	rehearsal                    rehearsal.Config
}

func parse(args []string) settings {
	var s settings
	f := flag.NewFlagSet("ecsdemo", flag.ExitOnError)
	s.rehearsalFlags(f)
	s.taskFlags(f)
	f.Usage = func() { usage(f.Output()) }
	_ = f.Parse(args) // it exits on errors
	if f.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "ecsdemo: unexpected argument %q\n", f.Arg(0))
		f.Usage()
		os.Exit(2)
	}
	return s
}

func (s *settings) rehearsalFlags(f *flag.FlagSet) {
	f.IntVar(&s.rehearsal.Tasks, "tasks", 3, "`number` of tasks")
	f.BoolVar(&s.rehearsal.Deploy, "deploy", false, "replace all tasks one by one under a stream of messages, as a deployment does, tell what became of them, and end")
	f.DurationVar(&s.rehearsal.Kill, "kill", 0, "SIGKILL the oldest task this `time` after all are up")
	f.DurationVar(&s.rehearsal.Stop, "stop", 0, "SIGTERM the oldest task this `time` after all are up")
	f.DurationVar(&s.rehearsal.For, "for", 0, "end after this `time`")
	f.BoolVar(&s.rehearsal.Bridge, "bridge", false, "all tasks at 127.0.0.1, as in ECS's bridge mode")
	f.BoolVar(&s.log, "log", false, "lines, and no table, on a terminal, too")
}

func (s *settings) taskFlags(f *flag.FlagSet) {
	f.StringVar(&s.peers, "peers", "", "join the nodes at these `addresses` (host:port,host:port) instead of asking ECS")
	f.StringVar(&s.bind, "bind", "", "`address` (host:port) of the node, TCP and UDP; by default port 7946, on loopback where there is no "+secretVariable)
	f.StringVar(&s.advertise, "advertise", "", "`address` (host:port) at which other nodes reach this one, where it is another than -bind")
	f.StringVar(&s.http, "http", ":8080", "`address` (host:port) of GET /health")
	f.BoolVar(&s.gossip, "gossip", false, "publish over the gossip lane; the rehearsal's tasks do, too")
	f.BoolVar(&s.stream, "stream", false, "send and request all the time, and log the account of it; -deploy starts its tasks with it")
	f.BoolVar(&s.rehearsed, "rehearsed", false, "leave when standard input ends; the rehearsal starts its tasks with it")
}

// usage shows the flags of the rehearsal and those of a task apart.
func usage(w io.Writer) {
	of := func(head string, flags func(*settings, *flag.FlagSet)) {
		f := flag.NewFlagSet("", flag.ContinueOnError)
		flags(new(settings), f)
		f.SetOutput(w)
		fmt.Fprint(w, head)
		f.PrintDefaults()
	}
	of("Usage: ecsdemo [FLAGS]\n\nWithout -peers, outside ECS, it rehearses a service on this machine:\n", (*settings).rehearsalFlags)
	of("\nInside ECS, or with -peers, it is one task:\n", (*settings).taskFlags)
}
