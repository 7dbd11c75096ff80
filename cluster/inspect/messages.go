package inspect

import "github.com/runrig-go/runrig/bus"

func messagesOf(s *bus.Stats) Messages {
	return Messages{
		Sent: s.Sent, Settled: s.Settled, Bounced: s.Bounced, Unknown: s.Unknown,
		Rerouted: s.Rerouted, DeadLetters: s.DeadLetters, Skipped: s.Skipped, LateReplies: s.LateReplies,
		Handled: s.Handled, Failed: s.Failed, Panics: s.Panics, Expired: s.Expired, Canceled: s.Canceled,
		Undecodable: s.Undecodable, Dropped: s.Dropped, CutOff: s.CutOff, Forgotten: s.Forgotten,
	}
}

// A counter is one of Messages by its name in JSON.
type counter struct {
	name string
	of   func(*Messages) *uint64
}

// counters are all of Messages, in their order.
var counters = []counter{
	{"sent", func(m *Messages) *uint64 { return &m.Sent }},
	{"settled", func(m *Messages) *uint64 { return &m.Settled }},
	{"bounced", func(m *Messages) *uint64 { return &m.Bounced }},
	{"unknown", func(m *Messages) *uint64 { return &m.Unknown }},
	{"rerouted", func(m *Messages) *uint64 { return &m.Rerouted }},
	{"dead_letters", func(m *Messages) *uint64 { return &m.DeadLetters }},
	{"skipped", func(m *Messages) *uint64 { return &m.Skipped }},
	{"late_replies", func(m *Messages) *uint64 { return &m.LateReplies }},
	{"handled", func(m *Messages) *uint64 { return &m.Handled }},
	{"failed", func(m *Messages) *uint64 { return &m.Failed }},
	{"panics", func(m *Messages) *uint64 { return &m.Panics }},
	{"expired", func(m *Messages) *uint64 { return &m.Expired }},
	{"canceled", func(m *Messages) *uint64 { return &m.Canceled }},
	{"undecodable", func(m *Messages) *uint64 { return &m.Undecodable }},
	{"dropped", func(m *Messages) *uint64 { return &m.Dropped }},
	{"cut_off", func(m *Messages) *uint64 { return &m.CutOff }},
	{"forgotten", func(m *Messages) *uint64 { return &m.Forgotten }},
}

// Each calls f with each counter, by its name in JSON, in their order.
func (m *Messages) Each(f func(name string, n uint64)) {
	for _, c := range counters {
		f(c.name, *c.of(m))
	}
}

// Add adds the counters of o.
func (m *Messages) Add(o Messages) { m.add(&o) }

func (m *Messages) add(o *Messages) {
	for _, c := range counters {
		*c.of(m) += *c.of(o)
	}
}

// losses are the counters that rise when something goes wrong.
var losses = map[string]bool{
	"unknown": true, "dead_letters": true, "skipped": true, "late_replies": true, "failed": true, "panics": true,
	"expired": true, "undecodable": true, "dropped": true, "cut_off": true, "forgotten": true,
}
