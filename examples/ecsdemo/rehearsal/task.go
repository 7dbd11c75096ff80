package rehearsal

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// Health checks are as ECS would make them, but more often.
const (
	healthInterval = time.Second
	healthTimeout  = 2 * time.Second
	healthRetries  = 3                // failures in a row that make a task unhealthy
	startPeriod    = 20 * time.Second // in which failures do not count, until the first success

	// What a task has between SIGTERM and SIGKILL: ECS's default, and less where
	// the whole has to end in time.
	stopTimeout       = 30 * time.Second
	deployStopTimeout = 10 * time.Second
)

// task is a rehearsed task: a child process at a place of its own, and the fake
// ECS's record of it.
type task struct {
	id    int
	place place
	ecs   *ecstest.Task
	cmd   *exec.Cmd
	stdin io.WriteCloser // the task ends when it reads the end of it, as it does when this process dies

	// The rest belongs to the goroutine that runs the rehearsal.
	up        bool // it has passed a health check
	leaving   bool // it was told to stop, and need not be replaced
	unwatch   context.CancelFunc
	killTimer *time.Timer
	grace     time.Duration // what it has to stop
	overdue   atomic.Bool   // it was killed as it did not stop in time
}

func (t *task) String() string { return fmt.Sprintf("task-%d", t.id) }

// start starts the process. Each line that it writes goes to line; done is
// called when the process is gone and all of its lines are out.
func (t *task) start(args, env []string, line func(string), done func()) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	t.cmd = exec.Command(self, args...)
	t.cmd.Env = env
	if t.stdin, err = t.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := t.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	t.cmd.Stderr = t.cmd.Stdout // the same pipe, so that the order stays
	if err := t.cmd.Start(); err != nil {
		return err
	}
	go func() { // ends with the process, which finish waits for
		eachLine(out, line)
		_ = t.cmd.Wait() // ended says how
		done()
	}()
	return nil
}

// eachLine calls f with each line of r, until r ends.
func eachLine(r io.Reader, f func(string)) {
	for b := bufio.NewReader(r); ; {
		text, err := b.ReadString('\n')
		if text != "" {
			f(strings.TrimRight(text, "\r\n"))
		}
		if err != nil {
			return
		}
	}
}

// watch checks the health once per interval until ctx ends. It calls passed with the
// answer to each that passes, and unhealthy once. A check that has begun is not cut
// short: the task sends its greeting all the same, which must be known to count.
func (t *task) watch(ctx context.Context, every time.Duration, passed func(health), unhealthy func(error)) {
	client := &http.Client{Timeout: healthTimeout, Transport: &http.Transport{Proxy: nil}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(every)
	defer tick.Stop()
	started, failures := time.Now(), 0
	for {
		h, err := t.check(context.WithoutCancel(ctx), client)
		switch {
		case err == nil:
			failures, started = 0, time.Time{}
			passed(h)
		case ctx.Err() != nil:
			return
		case !started.IsZero() && time.Since(started) < startPeriod:
		default:
			if failures++; failures == healthRetries {
				unhealthy(err)
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// health is what GET /health answers.
type health struct {
	IP    string `json:"ip"`
	Sent  uint64 `json:"sent"`  // the number of the last message sent to each verticle
	Links int    `json:"links"` // with other tasks
}

func (t *task) check(ctx context.Context, client *http.Client) (h health, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.place.httpAddr()+"/health", nil)
	if err != nil {
		return h, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return h, fmt.Errorf("health check answered %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 4096)).Decode(&h); err != nil {
		return h, err
	}
	if h.IP != t.place.name() {
		return h, fmt.Errorf("the health check of %s was answered by %q", t.place.name(), h.IP)
	}
	return h, nil
}

// stop tells the task to leave: SIGTERM, and SIGKILL when it takes too long.
func (t *task) stop() {
	t.leaving = true
	t.killTimer = time.AfterFunc(t.grace, func() {
		t.overdue.Store(true)
		t.kill()
	})
	if err := t.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		_ = t.stdin.Close() // for systems without signals; the task leaves at its end too
	}
}

// calm tells the task to end its stream of messages, if it has one.
func (t *task) calm() { _, _ = io.WriteString(t.stdin, "\n") } // it fails when the task has ended

// kill is SIGKILL.
func (t *task) kill() { _ = t.cmd.Process.Kill() }

// ended cleans up after the process and says how it ended.
func (t *task) ended() (how ending, text string) {
	_ = t.stdin.Close()
	if t.killTimer != nil {
		t.killTimer.Stop()
	}
	t.unwatch()
	switch state := t.cmd.ProcessState; {
	case state.Success():
		return left, "left"
	case t.overdue.Load():
		return failed, fmt.Sprintf("did not stop within %v", t.grace)
	case state.ExitCode() < 0:
		return killed, state.String()
	default:
		return failed, state.String()
	}
}

// ending is how a task ended.
type ending int

const (
	left   ending = iota // gracefully
	killed               // by somebody's signal
	failed               // by itself with an exit code, or too late
)
