package cluster

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
)

// levels are the prefixes of serf's and memberlist's log lines.
var levels = map[string]slog.Level{
	"DEBUG": slog.LevelDebug,
	"INFO":  slog.LevelInfo,
	"WARN":  slog.LevelWarn,
	"ERR":   slog.LevelError,
	"ERROR": slog.LevelError,
}

// quieter are lines that serf or memberlist log above their worth: they belong
// to the life of a healthy cluster, or are told by this package in better words.
var quieter = []string{
	"Refuting a suspect message",
	"Refuting a dead message",
	"Got ping for unexpected node",
	"EventMemberJoin", "EventMemberLeave", "EventMemberFailed", "EventMemberReap", "EventMemberUpdate",
	"Marking", "Suspect", "attempting reconnect",
	"Was able to connect to",
	"timeout while waiting for graceful leave",
	"timeout waiting for leave broadcast",
	"Received message of unknown type",                                                                                // an event that was dropped
	"Failed to send", "Failed fallback", "Failed to forward", "Failed to push", "Push/Pull with", "failed to receive", // the network between two nodes
}

// noisy are lines that may come by the thousand and are told apart by what
// follows, or that come at a level that is not limited otherwise.
var noisy = []string{
	"handler queue full",
	"received old event",
	"received old query",
	"Queue depth",
	"Failed to decode",
	"Stream connection",
}

// behind are lines about messages that gossip dropped since it was behind, late
// those about user events from before the window in which it knows duplicates.
var (
	behind = []string{"handler queue full", "dropping messages!"}
	late   = []string{"received old event"}
)

// overTCP are lines about a member that answered a probe by a stream, after it had
// not by a packet; refutes are lines about this node's having been taken for
// failed.
var (
	overTCP = []string{"Was able to connect to "}
	refutes = []string{"Refuting a suspect message", "Refuting a dead message"}
)

// maxKinds bounds the kinds of lines that are told apart: what is in a line may
// be a stranger's.
const maxKinds = 64

// maxLine bounds a line, in bytes: names and addresses in it may be another's.
const maxLine = 512

// A logBridge takes the lines that serf and memberlist log.
type logBridge struct {
	log      *slog.Logger
	counts   *counters
	ending   *atomic.Bool // the node closes: what gossip then meets with is of no interest
	refuting func()       // is told that gossip refutes that this node has failed; must not block
	probes   probes

	mu    sync.Mutex
	lines map[string]*sometimes // by kind; at most maxKinds, and one for all others
}

// newLogBridge returns a logger for serf and memberlist, which have no other way
// to tell of what they dropped, and of members that they reach by streams only,
// which is counted, and that others take this node for failed.
func newLogBridge(l *slog.Logger, counts *counters, ending *atomic.Bool, refuting func()) *log.Logger {
	return log.New(&logBridge{log: l, counts: counts, ending: ending, refuting: refuting, lines: map[string]*sometimes{}}, "", 0)
}

// Write takes one line such as "[WARN] memberlist: text".
func (b *logBridge) Write(line []byte) (int, error) {
	level, rest := splitLevel(bytes.TrimSpace(line))
	if level >= slog.LevelWarn {
		b.count(string(rest))
	}
	if !b.log.Enabled(context.Background(), level) {
		return len(line), nil
	}
	from, text, ok := strings.Cut(string(rest), ": ")
	if !ok {
		from, text = "gossip", string(rest)
	}
	if level > slog.LevelDebug && (b.ending.Load() || matches(quieter, text) != "") {
		level = slog.LevelDebug
	}
	if level == slog.LevelError {
		level = slog.LevelWarn // gossip heals by itself; what does not is this package's to say
	}
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "") + "…"
	}
	args := []any{"from", from, "text", text}
	if kind := kindOf(level, text); kind != "" {
		held, pass := b.limit(kind).pass()
		if !pass {
			return len(line), nil
		}
		args = append(args, "more", held)
	}
	b.log.Log(context.Background(), level, "gossip", args...)
	return len(line), nil
}

// count counts what a line of warning tells of.
func (b *logBridge) count(line string) {
	switch {
	case matches(behind, line) != "":
		b.counts.behind.Add(1)
	case matches(late, line) != "":
		b.counts.late.Add(1)
	case matches(overTCP, line) != "":
		b.counts.packetless.Add(1)
		b.packetless(line)
	case matches(refutes, line) != "":
		b.refuting()
	}
}

// kindOf says what a line is limited with: those of noisy, and all that is not
// for debugging by how it begins, since strangers can provoke most. "" means
// nothing.
func kindOf(level slog.Level, text string) string {
	if kind := matches(noisy, text); kind != "" || level <= slog.LevelDebug {
		return kind
	}
	if end := strings.IndexAny(text, ":;,'\"%()[]<>=/0123456789"); end > 0 {
		return text[:end]
	}
	return text
}

func (b *logBridge) limit(kind string) *sometimes {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lines[kind] == nil && len(b.lines) >= maxKinds {
		kind = ""
	}
	if b.lines[kind] == nil {
		b.lines[kind] = new(sometimes)
	}
	return b.lines[kind]
}

// splitLevel reads the level in brackets. A line without one is a warning:
// memberlist has a few.
func splitLevel(line []byte) (slog.Level, []byte) {
	if name, rest, ok := bytes.Cut(line, []byte("] ")); ok && bytes.HasPrefix(name, []byte("[")) {
		if level, known := levels[string(name[1:])]; known {
			return level, rest
		}
	}
	return slog.LevelWarn, line
}

// matches returns the first of the texts that line contains.
func matches(texts []string, line string) string {
	for _, t := range texts {
		if strings.Contains(line, t) {
			return t
		}
	}
	return ""
}
