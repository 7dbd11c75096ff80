package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUnknown = 3
	exitUsage   = 64
)

// Main runs the command with these arguments, without the program's name, and returns
// its exit code. It reads and writes the standard streams, and ends at an interrupt or
// SIGTERM.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, &env{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}, args)
}

// env is what the command sees of its process.
type env struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
}

// A verb is one thing that the command does.
type verb struct {
	name  string
	args  string // as shown
	about string
	run   func(ctx context.Context, c *call) error
	flags func(c *call)
	least int // arguments
	most  int
	alone bool // it needs no node
}

// verbs are all, in the order in which they are shown.
func verbs() []verb {
	return []verb{
		{name: "members", about: "who is there, and how they are", run: members, flags: watchFlags},
		{name: "monitor", about: "what happens, as it happens", run: monitor, flags: monitorFlags},
		{name: "report", args: "addresses|links|nodes|slow|verticles", about: "a table of one kind", run: report, flags: reportFlags, least: 1, most: 1},
		{name: "top", about: "the busiest addresses, each second", run: top, flags: topFlags},
		{name: "ui", about: "a page for the browser that shows it all, on this host", run: ui, flags: uiFlags},
		{name: "rtt", about: "how long packets take to the others and back", run: rtt},
		{name: "check", about: "whether all is well; exits with 0, 1 (warning), 2 (critical) or 3 (unknown)", run: check, flags: checkFlags},
		{name: "doctor", about: "what keeps nodes from each other", run: doctor},
		{name: "req", args: "ADDRESS [BODY]", about: "send a request, and show the reply", run: send("request"), flags: sendFlags, least: 1, most: 2},
		{name: "send", args: "ADDRESS [BODY]", about: "send a message to one consumer", run: send("send"), flags: sendFlags, least: 1, most: 2},
		{name: "pub", args: "ADDRESS [BODY]", about: "publish a message to all consumers", run: send("publish"), flags: sendFlags, least: 1, most: 2},
		{name: "sub", args: "ADDRESS", about: "show what is published at an address", run: sub, flags: subFlags, least: 1, most: 1},
		{name: "reply", args: "ADDRESS", about: "answer requests with what they say, or with nothing", run: reply, flags: replyFlags, least: 1, most: 1},
		{name: "trace", args: "ADDRESS [BODY]", about: "send a request, and show where its time goes", run: trace, flags: sendFlags, least: 1, most: 2},
		{name: "bench", args: "req|send|pub ADDRESS", about: "join, send many messages, and show how fast they went", run: bench, flags: benchFlags, least: 2, most: 2},
		{name: "keygen", about: "print a new secret", run: keygen, alone: true},
		{name: "version", about: "print the version", run: version, alone: true},
		{name: "completion", args: "bash|zsh|fish", about: "print what completes verbs in a shell", run: completion, least: 1, most: 1, alone: true},
	}
}

// A call is one run of a verb.
type call struct {
	*env
	verb  verb
	set   *flag.FlagSet
	args  []string
	style style

	json      bool
	nodes     string
	secretEnv string
	secret    string // file
	watch     watching
	options
}

// errUsage says that the arguments of a verb are wrong.
var errUsage = errors.New("usage")

// exitCode is an error that has been told, with the code to exit with.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func run(ctx context.Context, e *env, args []string) int {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	if name == "help" || name == "-h" || name == "-help" || name == "--help" {
		usage(e.out)
		return exitOK
	}
	all := verbs()
	i := slices.IndexFunc(all, func(v verb) bool { return v.name == name })
	if i < 0 {
		if name != "" {
			fmt.Fprintf(e.err, "runrig: unknown verb %s\n\n", show(name))
		}
		usage(e.err)
		return exitUsage
	}
	c := &call{env: e, verb: all[i], style: styleOf(e)}
	switch err := c.parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(e.err, "runrig %s: %v\n\n", name, err)
		c.set.SetOutput(e.err)
		c.set.Usage()
		return exitUsage
	}
	return c.exit(ctx, c.verb.run(ctx, c))
}

// exit tells an error, and returns the exit code.
func (c *call) exit(ctx context.Context, err error) int {
	var code exitCode
	switch {
	case err == nil, ctx.Err() != nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, errUsage):
		fmt.Fprintf(c.err, "runrig %s: %v\n\n", c.verb.name, err)
		c.set.SetOutput(c.err)
		c.usage()
		return exitUsage
	}
	fmt.Fprintf(c.err, "runrig %s: %s\n", c.verb.name, show(err.Error()))
	return exitFailed
}

// parse reads flags and arguments, which may come in any order.
func (c *call) parse(args []string) error {
	c.set = flag.NewFlagSet(c.verb.name, flag.ContinueOnError)
	c.set.SetOutput(io.Discard)
	c.set.Usage = c.usage
	c.set.BoolVar(&c.json, "json", false, "JSON for programs, instead of a table")
	if !c.verb.alone {
		c.set.StringVar(&c.nodes, "node", orElse(c.getenv("RUNRIG_NODE"), "127.0.0.1:7946"), "`address` of a node (host or host:port), or several with commas, of which the first that answers is taken")
		c.set.StringVar(&c.secretEnv, "secret-env", "RUNRIG_SECRET", "`name` of the environment variable that has the secret")
		c.set.StringVar(&c.secret, "secret-file", "", "`file` that has the secret, instead of a variable")
	}
	if c.verb.flags != nil {
		c.verb.flags(c)
	}
	for {
		if err := c.set.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				c.set.SetOutput(c.out)
				c.usage()
			}
			return err
		}
		if c.set.NArg() == 0 {
			break
		}
		c.args = append(c.args, c.set.Arg(0))
		args = c.set.Args()[1:]
	}
	if n := len(c.args); n < c.verb.least || n > c.verb.most {
		return fmt.Errorf("%d arguments; wanted: %s", n, orElse(c.verb.args, "none"))
	}
	return c.checkOptions()
}

func usage(w io.Writer) {
	fmt.Fprintf(w, "runrig looks at a cluster, and sends it messages, by way of one node.\n\nUsage: runrig VERB [FLAGS] [ARGUMENTS]\n\n")
	for _, v := range verbs() {
		fmt.Fprintf(w, "  %-42s %s\n", strings.TrimSpace(v.name+" "+v.args), v.about)
	}
	fmt.Fprintf(w, "\nrunrig VERB -h tells the flags of a verb. The node is at -node, or RUNRIG_NODE; the secret\nis in RUNRIG_SECRET, or in the file -secret-file.\n")
}

func (c *call) usage() {
	w := c.set.Output()
	fmt.Fprintf(w, "Usage: runrig %s [FLAGS] %s\n%s\n\n", c.verb.name, c.verb.args, c.verb.about)
	c.set.PrintDefaults()
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
