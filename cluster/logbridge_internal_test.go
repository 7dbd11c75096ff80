package cluster

import (
	"bytes"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
)

func TestLogBridge(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"[WARN] serf: Shutdown without a Leave":                  `level=WARN msg=gossip from=serf text="Shutdown without a Leave"`,
		"[ERR] memberlist: bad thing: worse":                     `level=WARN msg=gossip from=memberlist text="bad thing: worse"`,
		"[ERROR] memberlist: bad":                                `level=WARN msg=gossip from=memberlist text=bad`,
		"[INFO] serf: EventMemberJoin: a 10.0.0.1":               `level=DEBUG msg=gossip from=serf text="EventMemberJoin: a 10.0.0.1"`,
		"[WARN] memberlist: Refuting a suspect message (from x)": `level=DEBUG msg=gossip from=memberlist text="Refuting a suspect message (from x)"`,
		"[DEBUG] serf: messageJoinType: a":                       `level=DEBUG msg=gossip from=serf text="messageJoinType: a"`,
		"no level at all":                                        `level=WARN msg=gossip from=gossip text="no level at all"`,
		"[X] odd":                                                `level=WARN msg=gossip from=gossip text="[X] odd"`,
	} {
		var b bytes.Buffer
		l := newLogBridge(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})), new(counters), new(atomic.Bool), func() {})
		l.Print(line)
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q became %q, want %q", line, b.String(), want)
		}
	}
}

func TestLogBridgeLimitsNoise(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]int{
		"[WARN] memberlist: handler queue full, dropping message (3) from=10.0.0.%d":            1,
		"[ERR] memberlist: Failed to read remote state: msgpack decode error [pos %d]: timeout": 1,
		"[ERR] memberlist: Message type (%d) not supported from=10.0.0.1 (packet handler)":      1,
		"[WARN] memberlist: ignoring alive message for 'x%d': no":                               1,
		"[ERR] serf: Error decoding relay header: EOF %d":                                       1,
		"[DEBUG] serf: not enabled %d":                                                          0,
	} {
		var b bytes.Buffer
		l := newLogBridge(slog.New(slog.NewTextHandler(&b, nil)), new(counters), new(atomic.Bool), func() {})
		for i := range 1000 {
			l.Printf(line, i)
		}
		if n := strings.Count(b.String(), "\n"); n != want {
			t.Errorf("%q: %d lines, want %d:\n%.500s", line, n, want, b.String())
		}
	}
}

// What a stranger puts at the beginning of a line makes no kinds without end.
func TestLogBridgeBoundsKinds(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := &logBridge{log: slog.New(slog.NewTextHandler(&out, nil)), ending: new(atomic.Bool), lines: map[string]*sometimes{}}
	for i := range 1000 {
		_, _ = b.Write([]byte("[WARN] memberlist: " + strings.Repeat("x", i) + ": is odd"))
	}
	if n := strings.Count(out.String(), "\n"); len(b.lines) > maxKinds+1 || n > maxKinds+1 {
		t.Errorf("%d kinds, %d lines; want %d", len(b.lines), n, maxKinds+1)
	}
}

func BenchmarkLogBridgeDisabled(b *testing.B) {
	l := newLogBridge(slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)), new(counters), new(atomic.Bool), func() {})
	b.ReportAllocs()
	for b.Loop() {
		l.Printf("[DEBUG] serf: messageUserEventType: %s", "x")
	}
}

// While the node closes, and after, gossip's lines are for debugging.
func TestLogBridgeOfANodeThatCloses(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	ending := new(atomic.Bool)
	l := newLogBridge(slog.New(slog.NewTextHandler(&out, nil)), new(counters), ending, func() {})
	ending.Store(true)
	l.Print("[ERR] memberlist: odd: use of closed network connection")
	l.Print("[WARN] serf: odd")
	if out.Len() > 0 {
		t.Errorf("told: %s", out.String())
	}
}

// A line is not as long as what another node says in it.
func TestLogBridgeBoundsLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := newLogBridge(slog.New(slog.NewTextHandler(&out, nil)), new(counters), new(atomic.Bool), func() {})
	l.Print("[WARN] memberlist: ignoring alive message for '" + strings.Repeat("é", 100000) + "': no")
	if n := out.Len(); n < maxLine || n > 2*maxLine {
		t.Errorf("a line of %d bytes, want about %d", n, maxLine)
	}
}
