package rehearsal

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test binary the program that is rehearsed, where the
// rehearsal starts it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-rehearsed" {
		os.Exit(playTask(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// playTask is a task without a bus: it says that it received what it sent.
func playTask(args []string) int {
	f := flag.NewFlagSet("task", flag.ExitOnError)
	f.Bool("rehearsed", false, "")
	bind, listen := f.String("bind", "", ""), f.String("http", "", "")
	crash := f.Bool("crash", false, "end at once")
	lose := f.Uint64("lose", 0, "the number of a message that is not received")
	repeat := f.Bool("repeat", false, "receive all messages twice")
	stream := f.String("stream", "", "tell an account of a stream in which so much is handled of the 7 that each task sends")
	sick := f.Bool("sick", false, "fail all health checks but the first")
	_ = f.Parse(args)
	if *crash {
		return 3
	}
	if os.Getenv("RUNRIG_SECRET") == "" || os.Getenv("ECS_CONTAINER_METADATA_URI_V4") == "" || os.Getenv("HOME") != "" {
		fmt.Println("wrong environment:", os.Environ())
		return 4
	}
	local, _, _ := strings.Cut(*bind, ":")
	var n atomic.Uint64
	http.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		n := n.Add(1)
		if *sick && n > 1 {
			http.Error(w, "sick", http.StatusInternalServerError)
			return
		}
		for _, verticle := range []string{pointVerticle, broadcastVerticle} {
			for range 2 {
				if n != *lose {
					fmt.Printf("msg=received verticle=%s local=%s received=%s via=local n=%d\n", verticle, local, local, n)
				}
				if !*repeat {
					break
				}
			}
		}
		_ = json.NewEncoder(w).Encode(health{IP: local, Sent: n})
	})
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		fmt.Println(err)
		return 5
	}
	go http.Serve(l, nil) // until the process ends
	leave := make(chan os.Signal, 1)
	signal.Notify(leave, syscall.SIGTERM)
	go func() { // until the process ends
		_, _ = io.Copy(io.Discard, os.Stdin)
		leave <- syscall.SIGTERM
	}()
	<-leave
	if *stream != "" {
		fmt.Printf("msg=stream kind=ecsdemo.request local=%s failed=0 sent=7 sent.sum=70 handled=%s handled.sum=%s0\n", local, *stream, *stream)
	}
	fmt.Printf("msg=stopped local=%s sent=%d bus.sent=0\n", local, n.Load())
	return 0
}

// script runs a rehearsal and shows it its own lines: step is called with each,
// and ends the rehearsal when it returns false.
func script(t *testing.T, cfg Config, step func(line string) bool) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, w := io.Pipe()
	cfg.Out = w
	cfg.every = 100 * time.Millisecond
	var all strings.Builder
	var wg sync.WaitGroup
	wg.Go(func() {
		for s := bufio.NewScanner(r); s.Scan(); {
			fmt.Fprintln(&all, s.Text())
			if !step(s.Text()) {
				cancel()
			}
		}
	})
	err = Run(ctx, cfg)
	w.Close()
	wg.Wait()
	if testing.Verbose() {
		t.Log(all.String())
	}
	return all.String(), err
}

// received ends a rehearsal after n lines that say that a message was received.
func received(n int) func(string) bool {
	return func(line string) bool {
		if strings.Contains(line, "msg=received") {
			n--
		}
		return n > 0
	}
}

func TestRunStopsGracefully(t *testing.T) {
	t.Parallel()
	out, err := script(t, Config{Tasks: 2}, received(6))
	if err != nil {
		t.Fatalf("Run: %v\n%s", err, out)
	}
	for _, want := range []string{"task-1    | msg=received verticle=PointVerticle local=127.", "task-2 ended: left", "all that was sent is accounted for"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}

func TestRunForATime(t *testing.T) {
	t.Parallel()
	if out, err := script(t, Config{Tasks: 1, For: time.Second}, func(string) bool { return true }); err != nil {
		t.Fatalf("Run: %v\n%s", err, out)
	}
}

func TestKilledTaskIsReplaced(t *testing.T) {
	t.Parallel()
	out, err := script(t, Config{Tasks: 2, Kill: time.Millisecond}, func(line string) bool {
		return !strings.HasPrefix(line, "task-3 ") // the replacement's first line
	})
	if err != nil {
		t.Fatalf("Run: %v\n%s", err, out)
	}
	for _, want := range []string{"task-1 ended: signal: killed", "task-3 started at 127.", "killed: task-1."} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}

func TestStoppedTaskIsReplaced(t *testing.T) {
	t.Parallel()
	out, err := script(t, Config{Tasks: 2, Stop: time.Millisecond}, func(line string) bool {
		return !strings.HasPrefix(line, "task-3 ")
	})
	if err != nil || !strings.Contains(out, "task-1 ended: left") || strings.Contains(out, "killed") {
		t.Fatalf("Run: %v\n%s", err, out)
	}
}

func TestUnhealthyTaskIsReplaced(t *testing.T) {
	t.Parallel()
	out, err := script(t, Config{Tasks: 1, Args: []string{"-sick"}}, func(line string) bool {
		return !strings.HasPrefix(line, "task-2 ")
	})
	if !strings.Contains(out, "task-1 is unhealthy (health check answered 500") || !strings.Contains(out, "task-1 ended: left") ||
		err == nil || !strings.Contains(err.Error(), "task-1 became unhealthy") {
		t.Errorf("Run: %v\n%s", err, out)
	}
}

func TestRunReportsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"a lost message":       {[]string{"-lose", "2"}, "lost: 1 of 127."},
		"a message twice":      {[]string{"-repeat"}, "received twice: "},
		"tasks that never run": {[]string{"-crash"}, "3 tasks in a row ended before they were healthy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := script(t, Config{Tasks: 1, Args: c.args}, received(5))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Run: %v, want %q\n%s", err, c.want, out)
			}
		})
	}
}

func TestDeploymentReplacesAllOneByOne(t *testing.T) {
	t.Parallel()
	out, err := script(t, Config{Tasks: 2, Deploy: true, Args: []string{"-stream", "7"}, hold: time.Millisecond}, func(string) bool { return true })
	if err != nil {
		t.Fatalf("Run: %v\n%s", err, out)
	}
	rest := out
	for _, next := range []string{
		"all tasks are up", "task-3 started", "SIGTERM to task-1,", "task-1 ended: left", "task-4 started", "SIGTERM to task-2,", "task-2 ended: left",
		"stopping 2 tasks", "request    28       28       0     0", "all that was sent is accounted for",
	} {
		_, after, ok := strings.Cut(rest, next)
		if !ok {
			t.Fatalf("no %q after what was before it:\n%s", next, out)
		}
		rest = after
	}
	if strings.Contains(out, "msg=received") || strings.Contains(out, "msg=stream") {
		t.Errorf("the output shows what is only to be counted:\n%s", out)
	}
}

func TestDeploymentReportsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		end  string // ends the rehearsal when it is seen
		want string
	}{
		"messages of the stream are lost": {[]string{"-stream", "6"}, "never", "ecsdemo.request: 2 lost"},
		"no stream":                       {nil, "never", "no task told of a stream"},
		"an end before the beginning":     {[]string{"-stream", "7"}, "task-1 started", "the deployment did not begin"},
		"an end before all are replaced":  {[]string{"-stream", "7"}, "task-2 started", "tasks that were not replaced: 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := script(t, Config{Tasks: 1, Deploy: true, Args: c.args, hold: time.Millisecond}, func(line string) bool {
				return !strings.Contains(line, c.end)
			})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Run: %v, want %q\n%s", err, c.want, out)
			}
		})
	}
}

func TestRunRefusesNoTasks(t *testing.T) {
	t.Parallel()
	if err := Run(t.Context(), Config{Out: io.Discard}); err == nil || !strings.Contains(err.Error(), "-tasks") {
		t.Errorf("Run: %v", err)
	}
}
