package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/inspect"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/verticle"
)

const secret = "0123456789abcdef0123456789abcdef"

var quiet = slog.New(slog.DiscardHandler)

// join starts a node with a secret that is closed at the end of the test.
func join(t *testing.T, c cluster.Config, peers ...string) *cluster.Node {
	t.Helper()
	c.Bind, c.Discovery, c.Logger = "127.0.0.1:0", discovery.Static(peers...), quiet
	n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(quiet)), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// pair are two linked nodes, of which each can be attached to.
func pair(t *testing.T) (a, b *cluster.Node) {
	t.Helper()
	c := cluster.Config{Name: "a", Secrets: cluster.NewSecrets(secret), Admin: inspect.Handler}
	a = join(t, c)
	c.Name = "b"
	return a, join(t, c, a.Self().Addr)
}

// output is what a command writes, while it runs.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// ran is what came of a command.
type ran struct {
	code     int
	out, err string
}

// begin runs the command beside the test, with the environment and the arguments.
func begin(ctx context.Context, env map[string]string, args ...string) (out, errs *output, code chan int) {
	out, errs, code = new(output), new(output), make(chan int, 1)
	e := &envOf{out, errs, env}
	go func() { code <- run(ctx, e.env(), args) }()
	return out, errs, code
}

type envOf struct {
	out, err io.Writer
	vars     map[string]string
}

func (e *envOf) env() *env {
	return &env{in: strings.NewReader(`"from standard input"`), out: e.out, err: e.err, getenv: func(k string) string { return e.vars[k] }}
}

// with runs the command with a secret against a node.
func with(t *testing.T, n *cluster.Node, args ...string) ran {
	t.Helper()
	return runWith(t, map[string]string{"RUNRIG_SECRET": secret, "RUNRIG_NODE": n.Self().Addr}, args...)
}

func runWith(t *testing.T, env map[string]string, args ...string) ran {
	t.Helper()
	out, errs, code := begin(t.Context(), env, args...)
	select {
	case c := <-code:
		return ran{c, out.String(), errs.String()}
	case <-time.After(30 * time.Second):
		t.Fatalf("%v does not end", args)
	}
	return ran{}
}

// await retries until ok, for at most ten seconds.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func has(text string, all ...string) bool {
	for _, s := range all {
		if !strings.Contains(text, s) {
			return false
		}
	}
	return true
}

// TestVerbs: each reading verb shows what there is, as a table and as one document.
func TestVerbs(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	_, err := verticle.Deploy(t.Context(), b.EventBus(), verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		_, err := d.Consume("greet", bus.Respond(func(_ context.Context, name string) (string, error) { return "hello, " + name, nil }))
		return err
	}), verticle.WithName("greeter"), verticle.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	_ = a.EventBus().Send(t.Context(), "greet", 1)
	for verb, shows := range map[string][]string{
		"members":                        {"NAME", a.Self().Addr, b.Self().Addr, "alive", "itself", "ready"},
		"report nodes":                   {"a ", "b ", "yes", "ready"},
		"report links":                   {"FROM", "a  ", b.Self().Addr, "-"},
		"report addresses":               {"greet", "b"},
		"report addresses -match _runr":  {"ADDRESS"},
		"report slow":                    {"greet"},
		"report verticles -sort busy":    {"greeter", "running"},
		"report nodes -sort heap -top 1": {"and 1 more rows"},
		"top -n 1 -every 100ms":          {"2 nodes", "greet"},
		"rtt":                            {"b", "alive", "up"},
		"check":                          {"ok: 2 nodes alive, 2 have answered"},
		"check -min 2":                   {"ok: "},
		"doctor":                         {"ok    secret", "TCP (a link) and UDP (gossip) pass", "clock"},
		"version":                        {"runrig "},
		"completion bash":                {"complete", "members"},
	} {
		await(t, verb+" shows what there is", func() bool {
			r := with(t, a, strings.Fields(verb)...)
			if strings.Contains(r.out, "_runrig.") {
				t.Errorf("%s shows what is the library's own:\n%s", verb, r.out)
			}
			return r.code == 0 && r.err == "" && has(r.out, shows...)
		})
		if strings.HasPrefix(verb, "completion") {
			continue
		}
		r := with(t, a, append(strings.Fields(verb), "-json")...)
		if !json.Valid([]byte(r.out)) || r.code != 0 {
			t.Errorf("%s -json: %+v", verb, r)
		}
	}
}

// TestCalls: messages are sent by the node, and what becomes of them is shown.
func TestCalls(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	greet := bus.Respond(func(_ context.Context, name string) (string, error) { return "hello, " + name + "\x1b[2J", nil })
	for address, h := range map[string]bus.Handler{
		"greet":  greet,
		"header": bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, m.Header().Get("k")) }),
		"bytes":  bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, []byte{0xff, 0xfe}) }),
		"no":     bus.HandlerFunc(func(context.Context, *bus.Message) error { return errors.New("not \x1b[31mtoday") }),
	} {
		c, err := b.EventBus().Consume(address, h)
		if err == nil {
			err = c.Known(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for what, c := range map[string]struct {
		args []string
		code int
		out  string
		err  string
	}{
		"a string":          {[]string{"req", "greet", "ada"}, 0, `"hello, ada\u001b[2J"`, "from b, via link"},
		"flags in between":  {[]string{"req", "-timeout", "2s", "greet", "-n", "2", "ada"}, 0, "\"hello, ada\\u001b[2J\"\n\"hello, ada", "from b"},
		"JSON":              {[]string{"req", "greet", `"ada"`}, 0, `"hello, ada\u001b[2J"`, ""},
		"standard input":    {[]string{"req", "greet", "-"}, 0, "from standard input", ""},
		"a header":          {[]string{"req", "header", "-H", "K: v w"}, 0, `"v w"`, ""},
		"bytes come back":   {[]string{"req", "bytes"}, 0, "//4=", ""},
		"an error":          {[]string{"req", "no"}, 1, "", `not \x1b[31mtoday`},
		"nobody":            {[]string{"req", "nobody"}, 1, "", `no consumer of "nobody"`},
		"nobody, as JSON":   {[]string{"req", "nobody", "-json"}, 1, `"class": "no_consumer"`, ""},
		"a wrong header":    {[]string{"req", "x", "-H", "k"}, 64, "", `"k" is not key:value`},
		"no time":           {[]string{"req", "x", "-timeout", "0s"}, 64, "", "-timeout"},
		"reserved":          {[]string{"send", "_runrig.inspect"}, 1, "", "reserved"},
		"send":              {[]string{"send", "greet", "ada"}, 0, "", ""},
		"publish":           {[]string{"pub", "greet", "ada"}, 0, "", ""},
		"a trace":           {[]string{"trace", "greet", "ada"}, 0, "greet has consumers on: b\n", ""},
		"a trace, as JSON":  {[]string{"trace", "greet", "ada", "-json"}, 0, `"begins_seconds"`, ""},
		"a bench":           {[]string{"bench", "req", "bytes", "-n", "50", "-clients", "4"}, 0, "50 messages of 128 bytes by 4", ""},
		"a bench of nobody": {[]string{"bench", "send", "nobody", "-n", "5"}, 1, "5 failed: no_consumer", ""},
		"a bench of what":   {[]string{"bench", "shout", "x"}, 64, "", "there are req, send and pub"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := with(t, a, c.args...)
			if r.code != c.code || !strings.Contains(r.out, c.out) || !strings.Contains(r.err, c.err) || strings.ContainsRune(r.out+r.err, '\x1b') {
				t.Errorf("%q: code %d, want %d\n%s\n%s", c.args, r.code, c.code, r.out, r.err)
			}
		})
	}
}

// TestListeningTakesNothing: sub without turns shows what is published, and no consumer of
// the address goes short.
func TestListeningTakesNothing(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	heard := make(chan struct{}, 10)
	c, err := b.EventBus().Consume("news", bus.HandlerFunc(func(context.Context, *bus.Message) error { heard <- struct{}{}; return nil }))
	if err == nil {
		err = c.Known(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"RUNRIG_SECRET": secret, "RUNRIG_NODE": a.Self().Addr}
	out, errs, code := begin(t.Context(), env, "sub", "news", "-n", "1")
	await(t, "it listens", func() bool { return has(errs.String(), "listening at news") })
	for range 4 {
		if err := b.EventBus().Send(t.Context(), "news", "sent"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.EventBus().Publish(t.Context(), "news", "published"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		<-heard
	}
	if c := <-code; c != 0 || !has(out.String(), "from b", `"published"`) || has(out.String(), `"sent"`) || has(errs.String(), "takes turns") {
		t.Errorf("code %d\n%s\n%s", c, out, errs)
	}
}

// TestListening: sub with turns and reply say what they do, and show what comes.
func TestListening(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	env := map[string]string{"RUNRIG_SECRET": secret, "RUNRIG_NODE": a.Self().Addr}
	out, errs, code := begin(t.Context(), env, "sub", "news", "-turns", "-n", "1")
	await(t, "it listens", func() bool { return has(errs.String(), "takes turns at news", "listening at news") })
	if err := b.EventBus().Send(t.Context(), "news", "it\x1b[2J", bus.WithHeader("k", "v")); err != nil {
		t.Fatal(err)
	}
	if c := <-code; c != 0 || !has(out.String(), "from b", "k: v", `"it\u001b[2J"`) {
		t.Errorf("code %d\n%s", c, out)
	}

	_, errs, code = begin(t.Context(), env, "reply", "echo", "-echo", "-n", "1", "-json")
	await(t, "it listens", func() bool { return has(errs.String(), "listening at echo") })
	if got, err := bus.Request[string](t.Context(), b.EventBus(), "echo", "x"); got != "x" {
		t.Errorf("echo: %q, %v", got, err)
	}
	if c := <-code; c != 0 {
		t.Errorf("code %d\n%s", c, errs)
	}
}

// TestMonitor: what happens is shown as it happens, and another node is taken when one
// goes.
func TestMonitor(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, errs, code := begin(ctx, map[string]string{"RUNRIG_SECRET": secret}, "monitor", "-node", a.Self().Addr+","+b.Self().Addr)
	await(t, "the past is shown", func() bool { return has(out.String(), "linked", b.Self().String()) })
	c := join(t, cluster.Config{Name: "c", Secrets: cluster.NewSecrets(secret)}, a.Self().Addr)
	await(t, "who joins is shown", func() bool { return has(out.String(), "joined", c.Self().String()) })
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "another node is looked for", func() bool { return has(errs.String(), "looking for another node") })
	d := join(t, cluster.Config{Name: "d", Secrets: cluster.NewSecrets(secret)}, b.Self().Addr)
	await(t, "and found", func() bool { return has(out.String(), d.Self().String()) })
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("code %d", c)
	}
}

// TestErrors: each thing that may be wrong has a text that says what to do, and the
// secret is in none.
func TestErrors(t *testing.T) {
	t.Parallel()
	a, _ := pair(t)
	mute := join(t, cluster.Config{Secrets: cluster.NewSecrets(secret)})
	plain := join(t, cluster.Config{Admin: inspect.ReadOnly})
	const other = "another-secret-of-thirty-two-bytes"
	files := t.TempDir()
	file := func(name, text string) string {
		at := filepath.Join(files, name)
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return at
	}
	good, empty, wrong := file("good", secret+"\n"), file("empty", " \n"), file("wrong", other)
	for what, c := range map[string]struct {
		args []string
		env  map[string]string
		code int
		says string
	}{
		"no verb":          {nil, nil, 64, "Usage: runrig VERB"},
		"an unknown verb":  {[]string{"me\x1bmbers"}, nil, 64, `unknown verb me\x1bmbers`},
		"an unknown flag":  {[]string{"members", "-secret", "x"}, nil, 64, "not defined: -secret"},
		"an argument":      {[]string{"members", "x"}, nil, 64, "1 arguments; wanted: none"},
		"no address":       {[]string{"req"}, nil, 64, "wanted: ADDRESS [BODY]"},
		"a wrong report":   {[]string{"report", "x"}, nil, 64, "there are addresses"},
		"a wrong column":   {[]string{"report", "nodes", "-sort", "x", "-node", a.Self().Addr, "-secret-file", good}, nil, 64, "it may be"},
		"no secret":        {[]string{"members", "-node", a.Self().Addr}, nil, 1, "has a secret, and none is given: set RUNRIG_SECRET"},
		"another secret":   {[]string{"members", "-node", a.Self().Addr, "-secret-file", wrong}, nil, 1, "does not accept the secret in " + wrong},
		"of a variable":    {[]string{"members", "-node", a.Self().Addr, "-secret-env", "S"}, map[string]string{"S": other}, 1, "does not accept the secret in S"},
		"for none":         {[]string{"members", "-node", plain.Self().Addr, "-secret-file", good}, nil, 1, "it has another one, or none"},
		"too short":        {[]string{"members", "-node", a.Self().Addr}, map[string]string{"RUNRIG_SECRET": "short"}, 1, "the secret in RUNRIG_SECRET has 5 bytes"},
		"an empty file":    {[]string{"members", "-secret-file", empty}, nil, 1, "is empty"},
		"no file":          {[]string{"members", "-secret-file", good + "x"}, nil, 1, "no such file"},
		"nobody there":     {[]string{"members", "-node", "127.0.0.1:1"}, nil, 1, "nobody is at 127.0.0.1:1"},
		"not served":       {[]string{"members", "-node", mute.Self().Addr, "-secret-file", good}, nil, 1, "set cluster.Config.Admin"},
		"not allowed":      {[]string{"send", "x", "-node", plain.Self().Addr}, nil, 1, "not allowed"},
		"no host":          {[]string{"members", "-node", ":x"}, nil, 1, `address of a node ":x"`},
		"check of nobody":  {[]string{"check", "-node", "127.0.0.1:1"}, nil, 3, "UNKNOWN: nobody is at"},
		"the second works": {[]string{"rtt", "-node", "127.0.0.1:1," + a.Self().Addr, "-secret-file", good}, nil, 0, "alive"},
		"help":             {[]string{"-h"}, nil, 0, "Usage: runrig VERB"},
		"help of a verb":   {[]string{"members", "-h"}, nil, 0, "-secret-file"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := runWith(t, c.env, c.args...)
			all := r.out + r.err
			if r.code != c.code || !strings.Contains(all, c.says) || c.code == 64 && r.out != "" {
				t.Errorf("code %d, want %d and %q\n%s\n%s", r.code, c.code, c.says, r.out, r.err)
			}
			if strings.Contains(all, secret) || strings.Contains(all, other) || strings.ContainsRune(all, '\x1b') {
				t.Errorf("the secret, or an escape, is in the output: %s", all)
			}
		})
	}
}

// TestHostileNames: whatever an address has in it, a table stays a table.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	a, _ := pair(t)
	for i, address := range []string{"\x1b[31mred\x1b[0m", "a\nb\tc\x00", "\u202ertl\u0085", "\u009b2J", strings.Repeat("x", 255), "<img>"} {
		if _, err := a.EventBus().Consume(address, bus.HandlerFunc(func(context.Context, *bus.Message) error { return nil })); err != nil {
			t.Fatal(i, err)
		}
	}
	for _, args := range [][]string{{"report", "addresses"}, {"report", "addresses", "-json"}, {"top", "-n", "1"}, {"top", "-n", "1", "-json"}} {
		r := with(t, a, args...)
		if i := strings.IndexFunc(r.out, func(c rune) bool { return c != '\n' && show(string(c)) != string(c) }); i >= 0 || r.code != 0 {
			t.Errorf("%v: code %d, at %d: %q", args, r.code, i, r.out)
		}
	}
	if r := with(t, a, "report", "addresses"); !has(r.out, `\x1b[31mred`, `a\nb\tc\x00`, `\u202ertl\u0085`, "<img>") {
		t.Errorf("%s", r.out)
	}
}

// TestShow: what is shown is printable, and tells what was there.
func TestShow(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "plain": "plain", "größe ✓": "größe ✓", "\x1b[2J": `\x1b[2J`, "\xff": `\xff`, "\u202e": `\u202e`, "a\r\n": `a\r\n`, "�": "�",
	} {
		if got := show(in); got != want {
			t.Errorf("%q is shown as %s, want %s", in, got, want)
		}
	}
	for s, want := range map[float64]string{0: "0µs", 0.00012: "120µs", 0.0123: "12.3ms", 4.25: "4.2s", 59: "59s", 600: "10m", 9000: "2h", 1e6: "11d", -1: "0s"} {
		if got := seconds(s); got != want {
			t.Errorf("%v s is %s, want %s", s, got, want)
		}
	}
	if got := fmt.Sprint(bytesText(0), bytesText(1023), bytesText(1<<20), bytesText(1<<50)); got != "0B1023B1.0MiB1024.0TiB" {
		t.Error(got)
	}
}
