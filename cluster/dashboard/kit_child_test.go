package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/dashboard"
	"github.com/runrig-go/runrig/cluster/inspect"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/verticle"
)

const (
	childEnv = "RUNRIG_TEST_CHILD"
	secret   = "0123456789abcdef0123456789abcdef"
)

var quiet = slog.New(slog.DiscardHandler)

// pictures is where tests leave pictures of what they saw.
var pictures = flag.String("pictures", "", "leave pictures in this `folder`")

// TestMain makes the test binary a node that does what its parent says, if it has one.
func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		var c child
		if err := errors.Join(json.Unmarshal([]byte(text), &c), c.run(os.Stdin, os.Stdout)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A child is a node in a process of its own, or several: what is said of it.
type child struct {
	Names     []string // a node each
	Peers     []string
	Addresses int      // so many are consumed by each node
	Rate      int      // requests a second, from each node
	Hostile   []string // names of more addresses and verticles
	Serve     string   // where the dashboard of the first node is served
	Try       bool
	Open      bool // without a secret
	Fails     bool // handlers of payments.charge do, now and then
	Tags      map[string]string
}

// run starts the nodes, tells their addresses, and closes them when in ends.
func (c *child) run(in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	first, err := c.join(ctx, c.Names[0], c.Peers)
	if err != nil {
		return err
	}
	defer func() { _ = first.Close() }()
	if err := c.serve(first); err != nil {
		return err
	}
	fmt.Fprintln(out, first.Self().Addr)
	all.Go(func() { c.talk(ctx, first) })
	for _, name := range c.Names[1:] {
		all.Go(func() {
			node, err := c.join(ctx, name, append(c.Peers, first.Self().Addr))
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
			defer func() { _ = node.Close() }()
			fmt.Fprintln(out, node.Self().Addr)
			c.talk(ctx, node)
			<-ctx.Done()
		})
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

func (c *child) join(ctx context.Context, name string, peers []string) (*cluster.Node, error) {
	config := cluster.Config{Name: name, Cluster: "shop", Bind: "127.0.0.1:0", Discovery: discovery.Static(peers...), Logger: quiet, Admin: inspect.Handler, Tags: c.Tags}
	if !c.Open {
		config.Secrets = cluster.NewSecrets(secret)
	}
	node, err := cluster.Join(ctx, bus.New(bus.WithLogger(quiet)), config)
	if err != nil {
		return nil, err
	}
	eb := node.EventBus()
	inspect.Of(node)
	for _, v := range c.verticles() {
		if _, err := verticle.Deploy(ctx, eb, v.of, verticle.WithName(v.name), verticle.WithLogger(quiet), verticle.WithRestart(verticle.Restart{})); err != nil {
			return nil, err
		}
	}
	return node, nil
}

type named struct {
	name string
	of   verticle.Verticle
}

func (c *child) verticles() (all []named) {
	some := []string{"orders.place", "orders.cancel", "stock.reserve", "stock.level", "payments.charge", "mail.send", "search.query", "audit"}
	for i := range c.Addresses {
		address := fmt.Sprintf("shop.%04d", i)
		if i < len(some) {
			address = some[i]
		}
		some = append(some, address)
	}
	group := map[string][]string{}
	for _, a := range some[len(some)-c.Addresses:] {
		name, _, _ := strings.Cut(a, ".")
		group[name] = append(group[name], a)
	}
	for _, h := range c.Hostile {
		group[h] = []string{h}
	}
	for name, addresses := range group {
		all = append(all, named{name, verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
			for _, a := range addresses {
				if _, err := d.Consume(a, bus.HandlerFunc(c.handle)); err != nil {
					return err
				}
			}
			return nil
		})})
	}
	return all
}

// handle answers.
func (c *child) handle(ctx context.Context, m *bus.Message) error {
	var n int
	if m.Decode(&n) == nil && c.Fails && m.Address() == "payments.charge" && n%16 == 7 {
		return errors.New("the card was refused")
	}
	return m.Reply(ctx, n)
}

// talk sends requests until ctx ends.
func (c *child) talk(ctx context.Context, node *cluster.Node) {
	if c.Rate == 0 {
		return
	}
	var addresses []string
	for _, v := range node.EventBus().Addresses() {
		if !strings.HasPrefix(v.Address, "_") {
			addresses = append(addresses, v.Address)
		}
	}
	tick := time.NewTicker(time.Second / time.Duration(c.Rate))
	defer tick.Stop()
	for n := 0; ctx.Err() == nil && len(addresses) > 0; n++ {
		ask, cancel := context.WithTimeout(ctx, time.Second)
		_, _ = bus.Request[int](ask, node.EventBus(), addresses[(n*n/5+n)%len(addresses)], n)
		cancel()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (c *child) serve(node *cluster.Node) error {
	if c.Serve == "" {
		return nil
	}
	l, err := net.Listen("tcp", c.Serve)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/debug/runrig/", dashboard.New(node, dashboard.Options{Try: c.Try, Logger: quiet}))
	go func() { _ = http.Serve(l, mux) }() // until the process ends
	return nil
}

// A process is a child as the test sees it.
type process struct {
	cmd   *exec.Cmd
	in    io.Closer
	addrs []string // of its nodes
	dead  bool
}

// spawn starts a child, and waits until its nodes have joined. It is killed at the end
// of the test.
func spawn(t *testing.T, c child) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	in, err1 := p.cmd.StdinPipe()
	out, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, p.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	p.in = in
	t.Cleanup(func() { p.kill() })
	lines := bufio.NewScanner(out)
	for range c.Names {
		if !lines.Scan() {
			t.Fatalf("%v: the process has ended: %v", c.Names, lines.Err())
		}
		p.addrs = append(p.addrs, lines.Text())
	}
	return p
}

// kill ends the process as power loss would.
func (p *process) kill() {
	p.dead = true
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = p.in.Close()
}

// freeAddr is an address of the loopback where nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
