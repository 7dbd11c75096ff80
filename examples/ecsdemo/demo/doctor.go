package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery/ecs"
)

// doctor says what a task has and what it lacks to find the others and to talk
// to them: one line for each thing looked at, with what the library logged
// meanwhile below it.
type doctor struct {
	ctx    context.Context // of the whole examination
	out    io.Writer
	notes  notes
	failed int
}

// notes are what was logged since they were taken. Loggers write them.
type notes struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(b)
}

// take returns the notes, and forgets them.
func (n *notes) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer n.text.Reset()
	return n.text.String()
}

// errSick is the error of an examination that found something.
var errSick = errors.New("something is wrong; the lines that begin with FAIL say what")

// examine looks at the task this process runs in. The program that serves at
// listen, on this machine, is asked whom its node sees; where there is none, a
// node runs for a moment.
func examine(ctx context.Context, s settings, out io.Writer) error {
	d := &doctor{out: out, ctx: ctx}
	p := d.metadata()
	if p == nil {
		return errSick
	}
	d.address(p)
	d.secret()
	d.leases(s.open)
	peers, listed := d.tasks(p)
	v := d.node(p, s)
	if listed {
		for _, addr := range peers {
			d.peer(addr, v)
		}
	}
	if d.failed > 0 {
		return errSick
	}
	return nil
}

// logger logs into the notes, from this level on.
func (d *doctor) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(&d.notes, &slog.HandlerOptions{Level: level, ReplaceAttr: shortTime}))
}

// say writes a line, and the notes below it.
func (d *doctor) say(err error, what, format string, args ...any) {
	mark, text := "ok", fmt.Sprintf(format, args...)
	if err != nil {
		d.failed++
		mark, text = "FAIL", err.Error()
	}
	fmt.Fprintf(d.out, "%-4s  %-12s  %s\n", mark, what, text)
	for note := range strings.Lines(d.notes.take()) {
		fmt.Fprintf(d.out, "      %s", note)
	}
}

func (d *doctor) metadata() *ecs.Provider {
	p, err := ecs.New(d.ctx, ecs.Config{Logger: d.logger(slog.LevelDebug)})
	if err != nil {
		d.say(err, "metadata", "")
		return nil
	}
	t := p.Task()
	said := "task " + t.ID
	for _, fact := range []struct{ name, value string }{
		{"cluster", t.Cluster}, {"service", t.Service}, {"family", t.Family}, {"launch type", t.LaunchType},
		{"network mode", t.NetworkMode}, {"zone", t.Zone}, {"container", t.Container},
	} {
		if fact.value != "" { // older endpoints say less
			said += ", " + fact.name + " " + fact.value
		}
	}
	d.say(nil, "metadata", "%s", said)
	return p
}

// address checks that the address which others are told is one of this machine,
// where it should be.
func (d *doctor) address(p *ecs.Provider) {
	self, err := p.Self(d.ctx)
	if err != nil {
		d.say(err, "address", "")
		return
	}
	if p.Task().NetworkMode != "awsvpc" {
		d.say(nil, "address", "%s, of the container instance, is what others are told", self.Addr)
		return
	}
	name, err := interfaceOf(self.Addr)
	d.say(err, "address", "%s, on interface %s, is what others are told", self.Addr, name)
}

func interfaceOf(addr string) (name string, err error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return "", err
	}
	all, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	var seen []string
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			return "", err
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err == nil && (prefix.Addr() == ip || ip.IsLoopback() && prefix.Contains(ip)) {
				return i.Name, nil
			}
			seen = append(seen, a.String())
		}
	}
	return "", fmt.Errorf("the metadata tells %s, which no interface has (there are %s): is this process in the task's network?", ip, strings.Join(seen, ", "))
}

func (d *doctor) secret() {
	var err error
	if os.Getenv(secretVariable) == "" {
		err = fmt.Errorf("%s is not set; name it under secrets in the task definition", secretVariable)
	}
	d.say(err, "secret", "%s is set", secretVariable)
}

// tasks asks the API. The notes have each task that is left out, with the reason.
func (d *doctor) tasks(p *ecs.Provider) (peers []string, ok bool) {
	found, err := p.Look(d.ctx)
	if errors.Is(err, ecs.ErrAccessDenied) || errors.Is(err, ecs.ErrNoCredentials) {
		d.say(err, "permissions", "")
		return nil, false
	}
	notes := d.notes.take() // belong to the next line
	if err == nil || errors.Is(err, ecs.ErrHostPort) || errors.Is(err, ecs.ErrNoAddress) {
		d.say(nil, "permissions", "the task role allows what is needed")
	}
	_, _ = d.notes.Write([]byte(notes)) // a buffer takes everything
	if err != nil && found.Listed > 0 {
		err = fmt.Errorf("%s: %w", census(found), err)
	}
	d.say(err, "tasks", "%s", census(found))
	return found.Peers, err == nil
}

// census says what became of the tasks that ECS listed.
func census(r ecs.Result) string {
	self := "this one too"
	if !r.SelfListed {
		self = "this one not (yet)"
	}
	said := fmt.Sprintf("%d others listed, %s; %d peers", r.Listed, self, len(r.Peers))
	if len(r.Peers) > 0 {
		said += ": " + strings.Join(r.Peers, ", ")
	}
	for _, service := range r.Missing {
		said += fmt.Sprintf("; service %q does not exist", service)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Skipped)) {
		said += fmt.Sprintf("; %d left out: %s", r.Skipped[reason], reason)
	}
	return said
}

// node asks the program that runs in this task, or runs a node. Where neither
// can be the view is empty.
func (d *doctor) node(p *ecs.Provider, s settings) view {
	v, err := askNode(d.ctx, s.http)
	if err == nil {
		d.say(nil, "node", "the program that serves at %s has node %s at %s, which is %s", s.http, v.Self, v.Addr, v.State)
		return v
	}
	log := d.logger(slog.LevelWarn)
	eb := bus.New(bus.WithLogger(log))
	node, joinErr := cluster.Join(d.ctx, eb, cluster.Config{
		Discovery: p, Secrets: cluster.SecretsFromEnv(secretVariable), Bind: s.bind, Advertise: s.advertise, Logger: log,
	})
	if joinErr != nil {
		d.say(fmt.Errorf("nothing answers at %s (%w), and no node can run here: %w", s.http, err, joinErr), "node", "")
		return view{}
	}
	v = viewOf(node)
	err = node.Close() // before its notes are read
	d.say(err, "node", "nothing serves at %s; node %s ran at %s for a moment", s.http, v.Self, v.Addr)
	return v
}

func askNode(ctx context.Context, listen string) (v view, err error) {
	resp, err := getLocal(ctx, listen, "/peers")
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return v, fmt.Errorf("GET /peers: %s", resp.Status)
	}
	return v, json.NewDecoder(resp.Body).Decode(&v)
}

// peer says whether a task that ECS lists is reached over TCP and UDP.
func (d *doctor) peer(addr string, v view) {
	var seen *peerView
	for i, p := range v.Peers {
		if p.Addr == addr && (seen == nil || p.Linked) { // of an IP that was another task's, too, the one that lives
			seen = &v.Peers[i]
		}
	}
	switch {
	case seen == nil || !seen.Linked:
		d.say(d.dial(addr), addr, "")
	case seen.UDP != "":
		d.say(fmt.Errorf("TCP passes, UDP does not: open the port for udp, too, in the security group (%s)", seen.UDP), addr, "")
	default:
		d.say(nil, addr, "node %s, %s: TCP (a link) and UDP (gossip) pass", seen.Name, seen.Status)
	}
}

// dial finds out why there is no link. It always returns an error.
func (d *doctor) dial(addr string) error {
	ctx, cancel := context.WithTimeout(d.ctx, 2*time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("something accepts TCP, but there is no link: see this node's log (another secret or cluster name, or no node yet)")
	case ctx.Err() != nil || os.IsTimeout(err):
		return fmt.Errorf("TCP does not pass: no answer within 2 s; open the port for tcp and udp in the security group, from itself (%w)", err)
	default:
		return fmt.Errorf("TCP does not pass: nothing listens there; does that task run, at this port? (%w)", err)
	}
}
