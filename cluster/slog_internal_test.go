package cluster

import (
	"bytes"
	"log/slog"
	"strings"
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
		l := newLogBridge(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})))
		l.Print(line)
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q became %q, want %q", line, b.String(), want)
		}
	}
}

func TestLogBridgeLimitsNoise(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	l := newLogBridge(slog.New(slog.NewTextHandler(&b, nil)))
	for range 1000 {
		l.Print("[WARN] memberlist: handler queue full, dropping message (3) from=10.0.0.1")
	}
	l.Print("[DEBUG] serf: not enabled")
	if n := strings.Count(b.String(), "\n"); n != 1 {
		t.Errorf("%d lines, want 1:\n%s", n, b.String())
	}
}

func BenchmarkLogBridgeDisabled(b *testing.B) {
	l := newLogBridge(slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)))
	b.ReportAllocs()
	for b.Loop() {
		l.Printf("[DEBUG] serf: messageUserEventType: %s", "x")
	}
}
