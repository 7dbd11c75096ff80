package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus/bustest"
)

// A process is a [Child] as its parent, the test, sees it.
type process struct {
	t    *testing.T
	name string
	addr string
	cmd  *exec.Cmd
	rpc  *rpc.Client
	log  *lines
	gone bool
}

// spawn starts a process whose node joins those of others. It is killed at the end
// of the test.
func spawn(t *testing.T, name string, start Start, others ...*process) *process {
	t.Helper()
	p, in, out := launch(t, name, exec.Command(executable(t)))
	p.join(in, out, start, others)
	return p
}

// executable returns the path of this program.
func executable(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// launch starts the command that is, or becomes, the process.
func launch(t *testing.T, name string, cmd *exec.Cmd) (p *process, in io.WriteCloser, out *bufio.Reader) {
	t.Helper()
	p = &process{t: t, name: name, cmd: cmd, log: new(lines)}
	p.cmd.Env = append(os.Environ(), childEnv+"="+name)
	p.cmd.Stderr = p.log
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Skip("cannot start processes here:", err)
	}
	t.Cleanup(p.end)
	return p, in, bufio.NewReader(pipe)
}

// join has the process join the others.
func (p *process) join(in io.WriteCloser, out *bufio.Reader, start Start, others []*process) {
	p.t.Helper()
	p.rpc = rpc.NewClient(stdio{out, in})
	for _, o := range others {
		start.Peers = append(start.Peers, o.addr)
	}
	call(p, "Join", start, &p.addr)
}

// end kills the process, and shows its log if the test has failed.
func (p *process) end() {
	if p.rpc != nil {
		_ = p.rpc.Close()
	}
	p.signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
	if text := p.log.tail(); p.t.Failed() && text != "" {
		p.t.Logf("log of %s:\n%s", p.name, text)
	}
	if p.log.has("panic: ") || p.log.has("DATA RACE") || p.log.has("fatal error") {
		p.t.Errorf("%s panicked", p.name)
	}
}

func (p *process) signal(s os.Signal) {
	if p.gone {
		return
	}
	p.gone = s == syscall.SIGKILL
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("signal %v to %s: %v", s, p.name, err)
	}
}

// call calls a method of the child, which has a minute for it.
func call[Args, Reply any](p *process, method string, args Args, reply *Reply) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	c := p.rpc.Go("Child."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-c.Done:
		if c.Error != nil {
			p.t.Fatalf("%s of %s: %v", method, p.name, c.Error)
		}
	case <-ctx.Done():
		p.t.Fatalf("%s of %s: %v", method, p.name, ctx.Err())
	}
}

func (p *process) consume(c Consume) { p.t.Helper(); call(p, "Consume", c, new(None)) }

func (p *process) load(l Load) { p.t.Helper(); call(p, "Load", l, new(None)) }

func (p *process) unload() (t Tally) { p.t.Helper(); call(p, "Unload", None{}, &t); return t }

func (p *process) tally() (t Tally) { p.t.Helper(); call(p, "Tally", None{}, &t); return t }

func (p *process) status() (s Status) { p.t.Helper(); call(p, "Status", None{}, &s); return s }

// heap returns how many objects there are.
func (p *process) heap() (n uint64) { p.t.Helper(); call(p, "Heap", None{}, &n); return n }

func (p *process) close() (took time.Duration) {
	p.t.Helper()
	call(p, "Close", None{}, &took)
	return took
}

// awaitLinked waits until a process is linked with exactly the named ones.
func (p *process) awaitLinked(others ...*process) {
	p.t.Helper()
	var want []string
	for _, o := range others {
		if o != p {
			want = append(want, o.name)
		}
	}
	slices.Sort(want)
	within(p.t, 30*time.Second, p.name+" is linked with "+strings.Join(want, ", "), func() bool {
		got := p.status().Linked
		slices.Sort(got)
		return slices.Equal(got, want)
	})
}

// settled waits until what a process has sent is accounted for.
func (p *process) settled() {
	p.t.Helper()
	within(p.t, 10*time.Second, p.name+"'s accounts add up", func() bool {
		s := p.status().Bus
		return s.Sent == s.Settled+s.Bounced+s.Unknown
	})
}

// judge checks the promises over the ledgers of processes, and returns what was
// lost.
func judge(t *testing.T, all ...*process) (lost []bustest.Mark) {
	t.Helper()
	whole := bustest.NewLedger()
	for _, p := range all {
		p.settled()
	}
	for _, p := range all {
		var r bustest.Record
		call(p, "Record", None{}, &r)
		whole.Take(r)
	}
	for _, text := range whole.Broken() {
		t.Error(text)
	}
	return whole.Lost()
}

// within retries until ok, for at most limit.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(began) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
	}
	return time.Since(began)
}

// pass lets time go by, in a test whose matter is time.
func pass(d time.Duration) { <-time.After(d) }

// lines keeps the log of a process: its size, and its end.
type lines struct {
	mu    sync.Mutex
	count int
	all   bytes.Buffer // at most maxLog bytes
}

const maxLog = 1 << 20

var _ io.Writer = (*lines)(nil)

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count += bytes.Count(b, []byte("\n"))
	if l.all.Len() < maxLog {
		l.all.Write(b)
	}
	return len(b), nil
}

func (l *lines) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.all.Bytes(), []byte(text))
}

func (l *lines) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.all.Bytes()
	return string(b[max(0, len(b)-4000):])
}
