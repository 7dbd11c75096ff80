package rehearsal

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// A rehearsal on a terminal is a table that changes in place, with what happened
// below, and no line of a log.
func TestScreen(t *testing.T) {
	t.Parallel()
	size := func() (int, int) { return 100, 40 }
	killedSeen := false
	out, err := script(t, Config{Tasks: 2, Kill: time.Millisecond, Screen: &Screen{Size: size, Plain: true}}, func(line string) bool {
		killedSeen = killedSeen || strings.Contains(line, "✗ killed")
		return !killedSeen || !(strings.Contains(line, "task-3 ") && strings.Contains(line, "● ready"))
	})
	if err != nil {
		t.Fatalf("Run: %v\n%s", err, out)
	}
	for _, want := range []string{
		"from others", "● ready", "task-1 started at 127.", "task-1 ended: signal: killed", "task-3 is ready, ",
		"see it in a browser:      http://127.0.0.1:", "try in another terminal:  kill -9 ", "PointVerticle (Send", "killed: task-1.",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	if strings.Contains(out, "msg=received") {
		t.Error("the output has lines of the log")
	}
}

// The table fits the terminal, whatever happened, and names tasks, not addresses and
// ids.
func TestFrame(t *testing.T) {
	t.Parallel()
	s := newScreen(Screen{Size: func() (int, int) { return 100, 20 }}, nil)
	now := time.Now()
	for i, name := range []string{"task-1", "task-2", "task-3", "task-4", "task-5", "task-6", "task-7", "task-8"} {
		state := isReady
		if i < 5 {
			state = hasEnded[killed]
		}
		s.rows = append(s.rows, &row{name: name, addr: "127.0.0." + name[5:], node: "127.0.0." + name[5:] + ":7946", pid: 100 + i, state: state, since: now, started: now})
	}
	for range 300 {
		s.say("something happens")
	}
	s.line("task-6", `level=INFO msg="link is up" peer=1234-5678 address=127.0.0.7:7946`)
	s.line("task-7", `level=INFO msg="link is up" peer=1234-5678 address=127.0.0.8:7946`)
	s.line("task-6", `level=INFO msg="link is up" peer=1234-5678 address=127.0.0.8:7946`)
	s.line("task-6", `level=WARN msg="member failed" peer=1234-5678 address=127.0.0.1:7946 err="no answer"`)
	s.line("task-6", `level=INFO msg="node changed state" state=ready`)
	lost := map[string]counts{"127.0.0.6": {sent: 2, received: 4, fromOthers: 2, lost: 1}}
	for range 3 {
		s.frame(lost, 19)
	}
	lines := s.frame(lost, 19)
	all := regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllString(strings.Join(lines, "\n"), "")
	for _, want := range []string{
		"task-6  127.0.0.6          105  ● ready              0       2         4            2     1\n",
		"task-6 linked with task-7, task-8\n", "task-6 member failed: task-1 (no answer)\n", "kill -9 105 (a crash)    kill 105 (it leaves)",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("the frame lacks %q", want)
		}
	}
	if small := s.frame(lost, 14); len(small) > 14 || strings.Contains(strings.Join(small, ""), "task-1  ") {
		t.Errorf("%d lines of 14, with what ended first", len(small))
	}
	if len(lines) > 19 || len(s.events) != keptEvents || strings.Contains(all, "1234-5678") {
		t.Errorf("%d lines, %d events kept", len(lines), len(s.events))
	}
	if t.Failed() {
		t.Log("\n" + all)
	}
}
