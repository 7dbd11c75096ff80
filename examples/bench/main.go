// Command bench measures runrig beside NATS and beside the least that a bus
// does on a connection, in processes of their own on the loopback. README.md
// says what each case is.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	if os.Getenv(roleEnv) != "" {
		serveNode()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the command line's.
type options struct {
	scale
	cases   []string
	json    bool
	profile string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	quick := f.Bool("quick", false, "measure little, within 45 s")
	cases := f.String("cases", "", "measure only these, comma-separated: names, patterns, or a name's beginning (default all)")
	f.IntVar(&o.rounds, "rounds", 0, "rounds of each case (default 9, or as many as there is time for)")
	f.DurationVar(&o.each, "for", 0, "how long a case runs in each round (default 600ms)")
	f.BoolVar(&o.json, "json", false, "print one object a line instead of tables")
	f.StringVar(&o.profile, "profile", "", "write profiles of all processes into this directory")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("arguments without a flag: %q", f.Args())
	}
	if o.rounds < 0 || o.each < 0 {
		return o, fmt.Errorf("-rounds and -for must not be negative")
	}
	if *cases != "" {
		o.cases = strings.Split(*cases, ",")
	}
	o.fill(*quick)
	return o, nil
}

// fill sets what the command line left open. Who asks for a number of rounds
// or a time gets them, however long they take.
func (o *options) fill(quick bool) {
	s := defaultScale
	if quick {
		s = quickScale
	}
	if o.rounds > 0 || o.each > 0 {
		s.budget = 24 * time.Hour
	}
	if o.rounds > 0 {
		s.rounds = o.rounds
	}
	if o.each > 0 {
		s.each = o.each
	}
	o.scale = s
}

// run is the program; it returns the exit code: 1 if something was lost or failed.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	cs, err := selectCases(cases(o.scale), o.cases)
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	r, err := measure(ctx, o, groups(cs), stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return conclude(r, o, stdout, stderr)
}

// measure runs all groups and prints each as it ends.
func measure(ctx context.Context, o options, gs []*group, stdout, stderr io.Writer) (r results, err error) {
	start := time.Now()
	b := &bench{scale: o.scale, profile: o.profile, note: func(format string, args ...any) {
		fmt.Fprintf(stderr, "%5.1f s  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}}
	if b.keys, err = newKeys(); err != nil {
		return nil, err
	}
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return nil, err
		}
	}
	for i, g := range gs {
		if err := b.run(ctx, g, b.share(gs[i:], start.Add(o.budget))); err != nil {
			return r, err
		}
		r = append(r, g.cells...)
		if !o.json {
			printGroup(stdout, g)
		} else if err := printJSON(stdout, g); err != nil {
			return r, err
		}
	}
	return r, nil
}

// conclude tells what was reached and what went wrong.
func conclude(r results, o options, stdout, stderr io.Writer) (code int) {
	out := stdout
	if o.json {
		out = stderr
	}
	printFigures(out, r)
	for _, f := range r.void() {
		fmt.Fprintf(out, "\nVOID: %s must be %s in the same run, else its ratios say nothing\n", f.what, f.limit(f.must))
	}
	for _, c := range r {
		if c.err != nil {
			fmt.Fprintf(stderr, "bench: %s failed: %v\n", c.name(), c.err)
			code = 1
		}
		if n := c.lost(); n != 0 {
			fmt.Fprintf(stderr, "bench: %s lost %d messages\n", c.name(), n)
			code = 1
		}
	}
	return code
}
