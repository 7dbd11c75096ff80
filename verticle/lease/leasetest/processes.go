package leasetest

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/verticle/lease"
)

// childVariable is the name of the lease that a test wants, which Processes has
// started as a process of its own.
const childVariable = "LEASETEST_NAME"

// Processes tests leases that are held by a process which is stopped for longer than
// the ttl, by SIGSTOP, is killed, or releases its lease. That process is the test
// once more: the program of the test is run with the test's name, and env added to
// its environment. There, open must return the store that it returns here; what it
// needs for that, as an address, is for env. It logs how long each hand-over took.
// Where the system has no SIGSTOP the test is skipped.
func Processes(t *testing.T, open func(t testing.TB) lease.Store, env ...string) {
	if name := os.Getenv(childVariable); name != "" {
		hold(t, open(t), name)
		return
	}
	if sigStop == nil {
		t.Skip("this system has no SIGSTOP")
	}
	again := []string{"-test.run", "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$", "-test.count", "1", "-test.short=false"}
	for name, test := range map[string]func(t *testing.T, s lease.Store, start func(name string) *holder){
		"Stopped": testStopped, "Killed": testKilled, "Released": testReleased,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait most of their time
			test(t, open(t), func(name string) *holder {
				return startHolder(t, again, append(env[:len(env):len(env)], childVariable+"="+name))
			})
		})
	}
}

// said is how a line of a holding process begins, which goes on with one of the words.
const said = "leasetest: "

// hold takes the lease again and again, and tells of it, until standard input ends.
func hold(t *testing.T, s lease.Store, name string) {
	left := make(chan struct{})
	go func() { // until the parent wants it, or is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(left)
	}()
	for l := shortLock(t, s, name); ; {
		h := acquire(t, l)
		fmt.Printf("\n%sheld %d\n", said, h.Fence())
		select {
		case <-left:
			release(t, h)
			return
		case <-h.Context().Done():
			fmt.Printf("\n%slost %d %v\n", said, h.Fence(), context.Cause(h.Context()))
			_ = h.Release()
		}
	}
}

// A holder is a process that holds a lease.
type holder struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	lines chan string // what it says
}

// startHolder starts a process that wants a lease.
func startHolder(t *testing.T, args, env []string) *holder {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), env...)
	h := &holder{t: t, cmd: cmd, lines: make(chan string, 100)}
	if h.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // until the process ends, which the cleanup waits for
		defer close(ended)
		h.read(out)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait()
	})
	return h
}

// read takes down what the process says.
func (h *holder) read(out io.Reader) {
	defer close(h.lines)
	for s := bufio.NewScanner(out); s.Scan(); {
		line, ours := strings.CutPrefix(s.Text(), said)
		if !ours {
			line = "else: " + line
		}
		select {
		case h.lines <- line:
		default: // nobody wants to know so much
		}
	}
}

// await waits until the process says that, and returns the fence that it names.
func (h *holder) await(word string, within time.Duration) (fence uint64) {
	h.t.Helper()
	late := time.After(within)
	var all []string
	for {
		select {
		case line, ok := <-h.lines:
			if !ok {
				h.t.Fatalf("the process ended without a word of %q: %q", word, all)
			}
			if n, err := fmt.Sscanf(line, word+" %d", &fence); n == 1 && err == nil {
				return fence
			}
			all = append(all, line)
		case <-late:
			h.t.Fatalf("the process did not say %q within %v: %q", word, within, all)
		}
	}
}

func (h *holder) signal(sig os.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(sig); err != nil {
		h.t.Fatal(err)
	}
}

// takeOver acquires the lease, and says how long after what that was.
func takeOver(t *testing.T, l *lease.Lock, fence uint64, after string) *lease.Held {
	t.Helper()
	began := time.Now()
	h := acquire(t, l)
	t.Logf("the lease was taken over %v after %s (ttl %v)", time.Since(began).Round(time.Millisecond), after, shortTTL)
	if h.Fence() <= fence {
		t.Errorf("fence %d after %d", h.Fence(), fence)
	}
	return h
}

// patience is for what comes at once, on a machine that has other work, too.
const patience = 30 * time.Second

// testStopped stops the holding process for longer than the ttl. It must find out, as
// soon as it goes on, that the lease is another's, and leave it alone.
func testStopped(t *testing.T, s lease.Store, start func(name string) *holder) {
	name := rand.Text()
	p := start(name)
	fence := p.await("held", patience)
	p.signal(sigStop)
	h := takeOver(t, shortLock(t, s, name), fence, "SIGSTOP")
	p.signal(sigCont)
	if lost := p.await("lost", patience); lost != fence {
		t.Errorf("the process lost fence %d; it had %d", lost, fence)
	}
	_ = h.Release() // a busy machine may have lost it
	if next := p.await("held", patience); next <= h.Fence() {
		t.Errorf("fence %d after %d", next, h.Fence())
	}
}

func testKilled(t *testing.T, s lease.Store, start func(name string) *holder) {
	name := rand.Text()
	p := start(name)
	fence := p.await("held", patience)
	p.signal(os.Kill)
	_ = takeOver(t, shortLock(t, s, name), fence, "SIGKILL").Release()
}

func testReleased(t *testing.T, s lease.Store, start func(name string) *holder) {
	name := rand.Text()
	p := start(name)
	fence := p.await("held", patience)
	l := shortLock(t, s, name)
	ctx, cancel := context.WithTimeout(t.Context(), shortTTL/4)
	defer cancel()
	if _, err := l.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Acquire beside a holder: %v", err)
	}
	_ = p.stdin.Close()
	_ = takeOver(t, l, fence, "the holder was told to release it").Release()
}
