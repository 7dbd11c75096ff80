package main

// figure is something that runrig is meant to reach.
type figure struct {
	what   string
	of     string // case
	metric metric
	beside string // case that it is divided by; "" for none
	system string // of that case
	must   float64
	chase  float64 // 0: none
	atMost bool    // else at least
	unit   string
}

var figures = []figure{
	{what: "one-way 128 B ÷ NATS", of: "send/128B", metric: rateOf, beside: "send/128B", system: natsSystem, must: 2.6, chase: 3},
	{what: "one-way 128 B ÷ floor", of: "send/128B", metric: rateOf, beside: "send/128B", system: floorSystem, must: 0.9},
	{what: "one-way 128 B, CPU a message", of: "send/128B", metric: cpuOf, must: 0.7, atMost: true, unit: "µs"},
	{what: "one-way 128 B, allocations a message", of: "send/128B", metric: allocsOf, must: 1.5, atMost: true},
	{what: "one-way 1 KiB ÷ NATS", of: "send/1KiB", metric: rateOf, beside: "send/1KiB", system: natsSystem, must: 1.6, chase: 3},
	{what: "one-way 64 KiB ÷ NATS", of: "send/64KiB", metric: rateOf, beside: "send/64KiB", system: natsSystem, must: 1.8, chase: 3},
	{what: "one-way 1 MiB ÷ NATS", of: "send/1MiB", metric: rateOf, beside: "send/1MiB", system: natsSystem, must: 2.2, chase: 4},
	{what: "64 callers ÷ NATS", of: "request/64", metric: rateOf, beside: "request/64", system: natsSystem, must: 3.5, chase: 5},
	{what: "64 callers ÷ floor", of: "request/64", metric: rateOf, beside: "request/64", system: floorSystem, must: 1.1},
	{what: "64 callers, p99 ÷ floor's", of: "request/64", metric: p99Of, beside: "request/64", system: floorSystem, must: 1.1, atMost: true},
	{what: "256 callers ÷ NATS", of: "request/256", metric: rateOf, beside: "request/256", system: natsSystem, must: 3, chase: 4},
	{what: "256 callers ÷ floor", of: "request/256", metric: rateOf, beside: "request/256", system: floorSystem, must: 1.05},
	{what: "64 callers with contexts' time-outs ÷ without", of: "request/64/timeout", metric: rateOf, beside: "request/64", system: runrigSystem, must: 0.7, chase: 0.8},
	{what: "256 callers with contexts' time-outs ÷ without", of: "request/256/timeout", metric: rateOf, beside: "request/256", system: runrigSystem, must: 0.7, chase: 0.8},
	{what: "64 callers with Within ÷ without", of: "request/64/within", metric: rateOf, beside: "request/64", system: runrigSystem, must: 0.85, chase: 0.95},
	{what: "256 callers with Within ÷ without", of: "request/256/within", metric: rateOf, beside: "request/256", system: runrigSystem, must: 0.85, chase: 0.95},
	{what: "lone request, p50 ÷ floor's", of: "request/1", metric: p50Of, beside: "request/1", system: floorSystem, must: 1.1, chase: 0.9, atMost: true},
	{what: "p99 beside 1 MiB bodies ÷ alone", of: "mixed/bulk", metric: p99Of, beside: "mixed/alone", system: runrigSystem, must: 5, chase: 2.5, atMost: true},
	{what: "one-way 128 B, TLS ÷ plain", of: "send/128B/tls", metric: rateOf, beside: "send/128B", system: runrigSystem, must: 0.8, chase: 0.9},
	{what: "64 callers, TLS ÷ plain", of: "request/64/tls", metric: rateOf, beside: "request/64", system: runrigSystem, must: 0.8, chase: 0.9},
	{what: "publish 128 B to 2 ÷ NATS", of: "publish/128B", metric: rateOf, beside: "publish/128B", system: natsSystem, must: 1.6, chase: 2.2},
	{what: "local send ÷ a buffered channel", of: "local/send", metric: rateOf, beside: "local/send", system: floorSystem, must: 0.5, chase: 0.7},
	{what: "local request, p50", of: "local/request", metric: p50Of, must: 2, chase: 1, atMost: true, unit: "µs"},
	{what: "idle consumer", of: "idle", metric: memoryOf, must: 400, chase: 250, atMost: true, unit: "B"},
	{what: "start to first reply", of: "start", metric: startMs, must: 20, chase: 5, atMost: true, unit: "ms"},
	{what: "50 nodes, all links and routes", of: "nodes/50", metric: startSeconds, must: 5, atMost: true, unit: "s"},
}

// voids are what the floor must reach for its run to count: one that does not
// is no measure, as the machine was busy with something else.
var voids = []figure{
	{what: "floor, one-way 128 B ÷ NATS", of: "send/128B", metric: rateOf, beside: "send/128B", system: natsSystem, must: 1.7},
	{what: "floor, 64 callers ÷ NATS", of: "request/64", metric: rateOf, beside: "request/64", system: natsSystem, must: 2.8},
}

func startMs(s *sample) float64      { return s.p50 / 1e3 }
func startSeconds(s *sample) float64 { return s.p50 / 1e6 }

// reached returns what system reached, and whether that was measured.
func (f *figure) reached(r results, system string) (v float64, ok bool) {
	c := r.cell(f.of, system)
	if c == nil || len(c.samples) == 0 {
		return 0, false
	}
	if f.beside == "" {
		return c.median(f.metric), true
	}
	o := r.cell(f.beside, f.system)
	if o == nil || len(o.samples) == 0 {
		return 0, false
	}
	return c.ratio(o, f.metric), true
}

// met reports whether v is on the right side of a limit.
func (f *figure) met(v, limit float64) bool {
	if f.atMost {
		return v <= limit
	}
	return v >= limit
}

// results are all cells of a run.
type results []*cell

func (r results) cell(name, system string) *cell {
	for _, c := range r {
		if c.c.name == name && c.system == system {
			return c
		}
	}
	return nil
}

// void returns what the floor did not reach.
func (r results) void() (missed []figure) {
	for _, f := range voids {
		if v, ok := f.reached(r, floorSystem); ok && !f.met(v, f.must) {
			missed = append(missed, f)
		}
	}
	return missed
}
