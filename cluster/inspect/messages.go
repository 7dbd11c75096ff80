package inspect

import "github.com/runrig-go/runrig/bus"

func messagesOf(s *bus.Stats) Messages {
	return Messages{
		Sent: s.Sent, SentLocal: s.SentLocal, Published: s.Published, Requested: s.Requested, Settled: s.Settled, Bounced: s.Bounced, Unknown: s.Unknown,
		Rerouted: s.Rerouted, DeadLetters: s.DeadLetters, Skipped: s.Skipped, LateReplies: s.LateReplies,
		Handled: s.Handled, Failed: s.Failed, FailedRequests: s.FailedRequests, Panics: s.Panics, Expired: s.Expired, Canceled: s.Canceled,
		Undecodable: s.Undecodable, Dropped: s.Dropped, CutOff: s.CutOff, Forgotten: s.Forgotten,
		Requests: Requests(s.Requests),
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
	{"sent_local", func(m *Messages) *uint64 { return &m.SentLocal }},
	{"published", func(m *Messages) *uint64 { return &m.Published }},
	{"requested", func(m *Messages) *uint64 { return &m.Requested }},
	{"settled", func(m *Messages) *uint64 { return &m.Settled }},
	{"bounced", func(m *Messages) *uint64 { return &m.Bounced }},
	{"unknown", func(m *Messages) *uint64 { return &m.Unknown }},
	{"rerouted", func(m *Messages) *uint64 { return &m.Rerouted }},
	{"dead_letters", func(m *Messages) *uint64 { return &m.DeadLetters }},
	{"skipped", func(m *Messages) *uint64 { return &m.Skipped }},
	{"late_replies", func(m *Messages) *uint64 { return &m.LateReplies }},
	{"handled", func(m *Messages) *uint64 { return &m.Handled }},
	{"failed", func(m *Messages) *uint64 { return &m.Failed }},
	{"failed_requests", func(m *Messages) *uint64 { return &m.FailedRequests }},
	{"panics", func(m *Messages) *uint64 { return &m.Panics }},
	{"expired", func(m *Messages) *uint64 { return &m.Expired }},
	{"canceled", func(m *Messages) *uint64 { return &m.Canceled }},
	{"undecodable", func(m *Messages) *uint64 { return &m.Undecodable }},
	{"dropped", func(m *Messages) *uint64 { return &m.Dropped }},
	{"cut_off", func(m *Messages) *uint64 { return &m.CutOff }},
	{"forgotten", func(m *Messages) *uint64 { return &m.Forgotten }},
}

// ends are all of Requests, in their order.
var ends = []struct {
	name string
	of   func(*Requests) *uint64
}{
	{"replied", func(r *Requests) *uint64 { return &r.Replied }},
	{"refused", func(r *Requests) *uint64 { return &r.Refused }},
	{"no_consumer", func(r *Requests) *uint64 { return &r.NoConsumer }},
	{"busy", func(r *Requests) *uint64 { return &r.Busy }},
	{"link_lost", func(r *Requests) *uint64 { return &r.LinkLost }},
	{"timed_out", func(r *Requests) *uint64 { return &r.TimedOut }},
	{"canceled", func(r *Requests) *uint64 { return &r.Canceled }},
	{"other", func(r *Requests) *uint64 { return &r.Other }},
}

// Each calls f with each counter, by its name in JSON, in their order.
func (r *Requests) Each(f func(name string, n uint64)) {
	for _, e := range ends {
		f(e.name, *e.of(r))
	}
}

// Each calls f with each counter but those of Requests, by its name in JSON, in their
// order.
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
	for _, e := range ends {
		*e.of(&m.Requests) += *e.of(&o.Requests)
	}
}

// losses are the counters that rise when something goes wrong.
var losses = map[string]bool{
	"unknown": true, "dead_letters": true, "skipped": true, "late_replies": true, "failed": true, "panics": true,
	"expired": true, "undecodable": true, "dropped": true, "cut_off": true, "forgotten": true,
}
