package dashboard

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// viewsOf looks at snapshots a second apart, of which each is changed, and returns the
// last view.
func viewsOf(changes ...func(*inspect.Cluster)) *view {
	began := time.Now()
	slow := map[string]time.Time{}
	var base *sample
	var last *inspect.Cluster
	var v *view
	for i, change := range changes {
		c := twoNodes(uint64(i))
		c.Time = began.Add(time.Duration(i) * time.Second)
		for k := range c.Nodes {
			c.Nodes[k].Time = c.Time
		}
		change(&c)
		now := newSample(&c)
		v = newView(base, now, last, slow)
		base, last = now, &c
	}
	return v
}

func same(*inspect.Cluster) {}

func is(t *testing.T, what string, got *float64, want float64) {
	t.Helper()
	if got == nil || *got < want*0.99 || *got > want*1.01 {
		t.Errorf("%s is %v, want %v", what, value(got), want)
	}
}

// TestRates: they are of a second, not known from one snapshot, and never negative.
func TestRates(t *testing.T) {
	t.Parallel()
	v := viewsOf(same)
	if v.frame.Totals.Sent != nil || v.frame.Nodes[0].Sent != nil || v.addresses[0].Sent != nil || v.frame.Pairs[0][3] != -1 {
		t.Error("one snapshot tells rates")
	}
	v = viewsOf(same, same)
	is(t, "sent by all", v.frame.Totals.Sent, 20)
	is(t, "sent by one", v.frame.Nodes[0].Sent, 10)
	is(t, "sent to the address", v.addresses[0].Sent, 20)
	is(t, "over the link", &v.frame.Pairs[0][3], 2000)
	v = viewsOf(same, same, func(c *inspect.Cluster) { c.Nodes[0].Messages.Sent = 0 })
	is(t, "sent by one that counts anew, and one that does not", v.frame.Totals.Sent, 10)
}

// TestOwnMessages: what the page asks is not counted as the program's.
func TestOwnMessages(t *testing.T) {
	t.Parallel()
	n := uint64(0)
	asked := func(c *inspect.Cluster) {
		n += 100
		c.Nodes[0].Addresses = append(c.Nodes[0].Addresses, inspect.Address{Address: own + "inspect", Messages: inspect.Messages{Sent: n, Handled: n}})
		c.Nodes[0].Messages.Sent += n
		c.Nodes[0].Messages.Handled += n
	}
	f := viewsOf(asked, asked).frame
	is(t, "sent by all", f.Totals.Sent, 20)
	is(t, "sent by one", f.Nodes[0].Sent, 10)
	if value(f.Totals.Handled) != 0 || f.Addresses != 1 {
		t.Errorf("handled %v, %d addresses", value(f.Totals.Handled), f.Addresses)
	}
}

// TestPairs: what is between two nodes.
func TestPairs(t *testing.T) {
	t.Parallel()
	stalls := func(n uint64) func(*inspect.Cluster) {
		return func(c *inspect.Cluster) { c.Nodes[1].Links[0].Stalls = &n }
	}
	queued := func(c *inspect.Cluster) { n := uint64(queuedMuch); c.Nodes[0].Links[0].Queued = &n }
	for what, c := range map[string]struct {
		looks []func(*inspect.Cluster)
		state float64
		slow  int // links
	}{
		"up":            {[]func(*inspect.Cluster){same, same}, pairUp, 0},
		"full":          {[]func(*inspect.Cluster){same, queued}, pairSlow, 1},
		"stalls":        {[]func(*inspect.Cluster){stalls(1), stalls(2)}, pairSlow, 1},
		"stalled once":  {[]func(*inspect.Cluster){stalls(1), stalls(2), stalls(2)}, pairUp, 0},
		"one way":       {[]func(*inspect.Cluster){same, func(c *inspect.Cluster) { c.Nodes[0].Links = nil }}, pairOneWay, 0},
		"down":          {[]func(*inspect.Cluster){same, func(c *inspect.Cluster) { c.Nodes[0].Links, c.Nodes[1].Links = nil, nil }}, pairDown, 0},
		"one is silent": {[]func(*inspect.Cluster){same, func(c *inspect.Cluster) { c.Nodes = c.Nodes[:1] }}, pairUp, 0},
	} {
		v := viewsOf(c.looks...)
		if len(v.frame.Pairs) != 1 || v.frame.Pairs[0][2] != c.state || len(v.slow) != c.slow {
			t.Errorf("%s: %v, %d slow; want the state %v", what, v.frame.Pairs, len(v.slow), c.state)
		}
	}
	v := viewsOf(stalls(1), stalls(2), stalls(3), stalls(4))
	rows, _ := v.linkRows(question{sort: "pain", descending: true, most: 10})
	if since := v.now.Time.Sub(rows.Rows[0].SlowSince); rows.Rows[0].From != "b" || since != 2*time.Second {
		t.Errorf("%s is slow for %v, want b for 2 s", rows.Rows[0].From, since)
	}
}

// TestGhosts: they are counted where all is told, and not known otherwise.
func TestGhosts(t *testing.T) {
	t.Parallel()
	ghost := func(c *inspect.Cluster) { c.Nodes[0].Links[0].Believed.Count = 2 }
	for what, c := range map[string]struct {
		looks []func(*inspect.Cluster)
		want  int // less than 0: not known
	}{
		"none":         {[]func(*inspect.Cluster){same, same}, 0},
		"one":          {[]func(*inspect.Cluster){ghost, ghost}, 1},
		"for a moment": {[]func(*inspect.Cluster){same, ghost}, 0},
		"left out":     {[]func(*inspect.Cluster){same, func(c *inspect.Cluster) { c.Nodes[1].LeftOut.Links = 1 }}, -1},
		"older":        {[]func(*inspect.Cluster){same, func(c *inspect.Cluster) { c.Nodes[1].Routes = nil }}, -1},
		"missing":      {[]func(*inspect.Cluster){same, func(c *inspect.Cluster) { c.Missing = []inspect.Missing{{ID: "c"}} }}, -1},
	} {
		got := viewsOf(c.looks...).frame.Ghosts
		if known := got != nil; known != (c.want >= 0) || known && *got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// TestDurations: they are of late, of all nodes together, and where nodes tell no buckets
// the longest of what they tell.
func TestDurations(t *testing.T) {
	t.Parallel()
	took := func(p99 float64, buckets ...uint64) func(*inspect.Cluster) {
		return func(c *inspect.Cluster) {
			c.Nodes[0].Addresses[0].Durations = &inspect.Durations{Request: &inspect.Spread{P50: p99 / 2, P99: p99, Buckets: buckets}}
			c.Nodes[1].Addresses[0].Durations = &inspect.Durations{Handling: &inspect.Spread{P50: 1, P99: 1, Buckets: buckets}}
		}
	}
	p99 := func(looks ...func(*inspect.Cluster)) float64 { return value(viewsOf(looks...).addresses[0].P99) }
	slow, quick, mixed := p99(took(9, 0, 0, 0, 0, 100)), p99(took(9, 100)), p99(took(9, 1000, 0, 0, 0, 0), took(9, 1000, 0, 0, 0, 100))
	if !(slow > quick) || mixed != slow {
		t.Errorf("slow %v, quick %v, slow of late %v", slow, quick, mixed)
	}
	if got := p99(took(9, 100), took(9, 100)); got != quick {
		t.Errorf("%v where nothing happened of late, want %v", got, quick)
	}
	if got := p99(took(9)); got != 9 {
		t.Errorf("%v without buckets", got)
	}
	if got := p99(same); got != 0 {
		t.Errorf("%v of a node that tells none", got)
	}
}

// TestFailedMember: one that failed is red until another node has come for it.
func TestFailedMember(t *testing.T) {
	t.Parallel()
	fails := func(c *inspect.Cluster) {
		c.Members = append(c.Members, inspect.Member{ID: "d-1", Name: "d", Boot: "d", Status: "failed", Failed: c.Time.Add(-time.Minute)})
		for k := range c.Nodes {
			c.Nodes[k].Self.Started = c.Time.Add(-time.Hour)
		}
	}
	heals := func(c *inspect.Cluster) {
		fails(c)
		c.Nodes[1].Self.Started = c.Time.Add(-30 * time.Second)
	}
	if f := viewsOf(same, fails).frame; f.Nodes[2].Replaced || len(f.Findings) != 1 {
		t.Errorf("it failed: %+v, %v", f.Nodes[2], f.Findings)
	}
	if f := viewsOf(same, heals).frame; !f.Nodes[2].Replaced || len(f.Findings) != 0 {
		t.Errorf("it was replaced: %+v, %v", f.Nodes[2], f.Findings)
	}
}

// TestTables: rows are found, sorted and bounded, and an address of the library's own
// shown to who looks for it.
func TestTables(t *testing.T) {
	t.Parallel()
	many := func(c *inspect.Cluster) {
		for i, name := range []string{"b", "C", "_runrig.x"} {
			c.Nodes[0].Addresses = append(c.Nodes[0].Addresses, inspect.Address{Address: name, Waiting: 5 - i, Local: 1, Consumers: 1})
		}
	}
	v := viewsOf(many, many)
	for what, c := range map[string]struct {
		q    question
		want string
	}{
		"by name":      {question{sort: "address", most: 10}, `["C","b","x"]`},
		"the last":     {question{sort: "address", descending: true, most: 1}, `["x"]`},
		"by pain":      {question{sort: "pain", descending: true, most: 10}, `["b","C","x"]`},
		"the least":    {question{sort: "waiting", most: 2}, `["x","C"]`},
		"found":        {question{match: "c", most: 10}, `["C"]`},
		"its own":      {question{match: "_run", most: 10}, `["_runrig.x"]`},
		"none is like": {question{match: "zz", most: 10}, `[]`},
	} {
		rows, _ := v.addressRows(c.q)
		names := []string{}
		for _, r := range rows.Rows {
			names = append(names, r.Address)
		}
		if got, _ := json.Marshal(names); string(got) != c.want {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
	if _, ok := v.address(question{name: "no"}); ok {
		t.Error("an address that nobody has is found")
	}
	if r, ok := v.address(question{name: "x"}); !ok || len(r.Rows) != 2 || r.Rows[0].Local != 1 {
		t.Errorf("x by node: %+v", r)
	}
}

// TestTree: verticles are below their parents, and a search keeps those above.
func TestTree(t *testing.T) {
	t.Parallel()
	deployed := func(busy float64) func(*inspect.Cluster) {
		return func(c *inspect.Cluster) {
			at := c.Time.Add(-100 * time.Second)
			c.Nodes[0].Verticles = []inspect.Verticle{
				{ID: "1", Name: "web", State: "running", Deployed: at, Busy: busy}, {ID: "2", Name: "orders", State: "running", Deployed: at},
				{ID: "3", Name: "child", Parent: "2", State: "failed", Deployed: at, Consumers: []string{"needle"}}, {ID: "4", Name: "orphan", Parent: "gone", Deployed: at},
			}
		}
	}
	v := viewsOf(deployed(10), deployed(10.5))
	text := func(match string) (s string) {
		rows, _ := v.verticleRows(question{match: match, most: 10})
		for _, r := range rows.Rows {
			s += string(rune('0'+r.Depth)) + r.Name + " "
		}
		return s
	}
	if got := text(""); got != "0web 0orders 1child 0orphan " {
		t.Error(got)
	}
	if got := text("needle"); got != "0orders 1child " {
		t.Error(got)
	}
	rows, _ := v.verticleRows(question{most: 1})
	if rows.All != 4 || len(rows.Rows) != 1 {
		t.Errorf("%d of %d", len(rows.Rows), rows.All)
	}
	is(t, "busy now", rows.Rows[0].Share, 0.5)
	is(t, "busy ever", &rows.Rows[0].Ever, 0.105)
	if v.frame.Verticles["failed"] != 1 {
		t.Error(v.frame.Verticles)
	}
}
