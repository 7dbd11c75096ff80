package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain makes the test's binary a process of a system when the bench starts
// it as one.
func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		serveNode()
		return
	}
	os.Exit(m.Run())
}

// runBench runs the program and returns its exit code and what it prints.
func runBench(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestRunAsJSON(t *testing.T) {
	code, out, errs := runBench(t, "-json", "-rounds", "2", "-for", "100ms", "-cases", "send/128B,request/64,publish,send/128B/tls")
	if code != 0 {
		t.Errorf("exit code %d:\n%s", code, errs)
	}
	got := make(map[string]line)
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	for {
		var l line
		if err := d.Decode(&l); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v in:\n%s", err, out)
		}
		got[l.Case+" "+l.System] = l
	}
	for _, c := range []string{"send/128B", "send/128B/tls", "request/64", "publish/128B"} {
		for _, s := range all {
			l := got[c+" "+s]
			if l.Rate <= 0 || l.P50 <= 0 || l.P99 < l.P50 || l.CPU <= 0 || l.Lost != 0 || l.Rounds != 2 {
				t.Errorf("%s of %s: %+v", c, s, l)
			}
		}
	}
	if len(got) != 12 {
		t.Errorf("%d lines, want 12:\n%s", len(got), out)
	}
}

func TestRunAsTables(t *testing.T) {
	code, out, errs := runBench(t, "-rounds", "1", "-for", "50ms", "-cases", "local,mixed,start,request/1")
	if code != 0 {
		t.Errorf("exit code %d:\n%s", code, errs)
	}
	for _, want := range []string{"local/send: ", "local/request: ", "mixed/bulk: ", "start: ", "request/1: ", "lone request, p50 ÷ floor's"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if !strings.Contains(errs, "round 1 of 1") {
		t.Errorf("no progress in:\n%s", errs)
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{{"-cases", "no/such"}, {"-cases", "[" /* a bad pattern */}, {"-rounds", "-1"}, {"-for", "x"}, {"more"}} {
		if code, _, errs := runBench(t, args...); code != 2 || errs == "" {
			t.Errorf("%q: exit code %d, %q", args, code, errs)
		}
	}
}

func TestSelectCases(t *testing.T) {
	for pattern, want := range map[string]string{
		"send/128B":      "send/128B",
		"send":           "send/16B send/128B send/1KiB send/64KiB send/1MiB send/128B/tls",
		"request/64/*":   "request/64/timeout request/64/within request/64/tls",
		"idle,request/1": "request/1 idle",
	} {
		cs, err := selectCases(cases(quickScale), strings.Split(pattern, ","))
		var names []string
		for _, c := range cs {
			names = append(names, c.name)
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", pattern, got, err, want)
		}
	}
}

// conclusion concludes a run of two cases after change has seen each cell.
func conclusion(t *testing.T, change func(c *cell)) (code int, text string) {
	t.Helper()
	var cs []*benchCase
	for _, name := range []string{"send/128B", "request/64"} {
		cs = append(cs, must(matching(cases(quickScale), name))(t)...)
	}
	var r results
	for _, g := range groups(cs) {
		r = append(r, g.cells...)
	}
	rates := map[string]int64{runrigSystem: 400, natsSystem: 100, floorSystem: 400}
	for _, c := range r {
		c.samples = []sample{{count: rates[c.system], elapsed: time.Second, p99: 1}}
		change(c)
	}
	var out bytes.Buffer
	code = conclude(r, options{}, &out, &out)
	return code, out.String()
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestConclude(t *testing.T) {
	if code, out := conclusion(t, func(*cell) {}); code != 0 || strings.Contains(out, "VOID") {
		t.Errorf("a good run: exit code %d\n%s", code, out)
	}
	code, out := conclusion(t, func(c *cell) { c.samples[0].lost++ })
	if code != 1 || !strings.Contains(out, "send/128B nats lost 1 messages") {
		t.Errorf("a run that lost messages: exit code %d\n%s", code, out)
	}
	code, out = conclusion(t, func(c *cell) {
		if c.system == natsSystem {
			c.samples[0].count = 240
		}
	})
	if code != 0 || strings.Count(out, "VOID") != 2 {
		t.Errorf("a run with a slow floor: exit code %d\n%s", code, out)
	}
	code, out = conclusion(t, func(c *cell) {
		if c.system == runrigSystem {
			c.samples, c.notYet = nil, "too large"
		}
	})
	if code != 0 || !strings.Contains(out, "not yet") {
		t.Errorf("a run of what is not there yet: exit code %d\n%s", code, out)
	}
}

func TestReceiverSeesWhatGoesWrong(t *testing.T) {
	stamp := uint64(now())
	for name, c := range map[string]struct {
		numbers       []uint64
		change        func(body []byte) []byte
		count, broken int64
	}{
		"good":     {numbers: []uint64{0, 1, 2}, count: 3},
		"lost":     {numbers: []uint64{0, 2}, count: 2},
		"twice":    {numbers: []uint64{0, 1, 1, 2}, count: 4, broken: 1},
		"order":    {numbers: []uint64{1, 0, 2}, count: 3, broken: 1},
		"damaged":  {numbers: []uint64{0, 1, 2}, count: 3, broken: 3, change: func(b []byte) []byte { b[31] = 0; return b }},
		"cut":      {numbers: []uint64{0, 1, 2}, count: 3, broken: 3, change: func(b []byte) []byte { return b[:31] }},
		"from ago": {numbers: []uint64{1 << numberBits, 0, 1, 2}, count: 3},
	} {
		t.Run(name, func(t *testing.T) {
			r := &receiver{}
			r.arm(7, 32)
			for i, n := range c.numbers {
				body, s := newBody(32), uint64(0)
				if i == len(c.numbers)-1 {
					s = stamp | lastStamp
				}
				mark(body, 7+n>>numberBits, n&numberMask, s)
				if c.change != nil {
					body = c.change(body)
				}
				r.take(body)
			}
			got := r.collect()
			if got.Count != c.count || got.Broken != c.broken || got.Last < int64(stamp) {
				t.Errorf("%+v, want %d and %d", got, c.count, c.broken)
			}
		})
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range int64(1000) {
		h.add((i + 1) * 1000)
	}
	var all histogram
	all.merge(&h)
	for q, want := range map[float64]float64{0.5: 500, 0.99: 990, 0: 1} {
		if got := all.quantile(q); got < want*0.98 || got > want*1.02 {
			t.Errorf("quantile %v: %v µs, want %v", q, got, want)
		}
	}
	if got := (&histogram{}).quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing: %v", got)
	}
	h.add(-1)
	h.add(1<<63 - 1) // neither panics
}

func TestDigits(t *testing.T) {
	for v, want := range map[float64]float64{1234567: 1235000, 0.123456: 0.1235, 0: 0, 9999.9: 10000} {
		if got := digits(v); got != want {
			t.Errorf("digits(%v) = %v, want %v", v, got, want)
		}
	}
}
