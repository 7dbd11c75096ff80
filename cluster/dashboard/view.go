package dashboard

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// A view is what the page shows of a sample: the frame, which all tabs are sent, and
// what the tables are made of.
type view struct {
	now, base *sample
	slow      map[string]time.Time
	addresses []address
	took      spread // of all of them
	frame     frame
}

// A frame is what each tab is sent.
type frame struct {
	Time     time.Time         `json:"time"`
	Asker    string            `json:"asker"` // its name
	Took     float64           `json:"took_seconds"`
	Cluster  string            `json:"cluster"`
	Secured  bool              `json:"secured"`
	Members  map[string]int    `json:"members"` // how many, by status
	Releases map[string]int    `json:"releases"`
	Findings []inspect.Finding `json:"findings"`
	Ghosts   *int              `json:"ghosts,omitempty"` // absent: not all nodes have told all
	Nodes    []node            `json:"nodes"`
	Pairs    []pair            `json:"pairs"`
	Totals   totals            `json:"totals"`

	Addresses     int       `json:"addresses"`
	AddressesOver int       `json:"addresses_left_out,omitempty"`
	Worst         []address `json:"worst"` // addresses, those with the most trouble first

	Verticles map[string]int `json:"verticles"` // how many, by state
}

// A node is a member of the cluster, and what it tells of itself if it does.
type node struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Boot     string            `json:"boot"`
	Address  string            `json:"address"`
	Status   string            `json:"status"`
	State    string            `json:"state,omitempty"`  // of one that answers
	Silent   string            `json:"silent,omitempty"` // why it does not, though it lives
	Replaced bool              `json:"replaced,omitempty"`
	Failed   time.Time         `json:"failed,omitzero"`
	Started  time.Time         `json:"started,omitzero"` // by the clock of the node that asked
	Tags     map[string]string `json:"tags,omitempty"`
	Release  string            `json:"release,omitempty"`
	Error    string            `json:"error,omitempty"`

	Goroutines uint64   `json:"goroutines,omitempty"`
	Heap       uint64   `json:"heap_bytes,omitempty"`
	Memory     uint64   `json:"memory_bytes,omitempty"`
	GCs        uint64   `json:"gc_cycles,omitempty"`
	Links      int      `json:"links"`
	Sent       *float64 `json:"sent_rate,omitempty"`
	Handled    *float64 `json:"handled_rate,omitempty"`
	Wrong      *float64 `json:"wrong_rate,omitempty"`
}

// totals are of all nodes together.
type totals struct {
	Sent       *float64 `json:"sent_rate,omitempty"`
	Handled    *float64 `json:"handled_rate,omitempty"`
	Failed     *float64 `json:"failed_rate,omitempty"`
	Lost       *float64 `json:"lost_rate,omitempty"`
	Bytes      *float64 `json:"bytes_rate,omitempty"` // written to links
	Waiting    int      `json:"waiting"`
	Queued     int      `json:"queued"`
	Running    int      `json:"running"`
	FailedEver uint64   `json:"failed"`
	LostEver   uint64   `json:"lost"`
	P50        *float64 `json:"p50_seconds,omitempty"` // of requests
	P99        *float64 `json:"p99_seconds,omitempty"`
}

func newView(base, now *sample, last *inspect.Cluster, slow map[string]time.Time) *view {
	v := &view{now: now, base: base}
	f := &v.frame
	*f = frame{
		Time: now.Time, Took: now.Took, Members: map[string]int{}, Releases: map[string]int{}, Verticles: map[string]int{},
		Findings: []inspect.Finding{}, Nodes: []node{}, Pairs: []pair{},
	}
	if last == nil {
		last = now.Cluster
	}
	f.Findings = append(f.Findings, inspect.Examine(last, now.Cluster)...)
	v.addNodes()
	v.addAsker()
	v.addPairs(slow)
	v.slow = maps.Clone(slow)
	v.addAddresses()
	v.addTotals()
	return v
}

// addAsker has what the node that asks knows for all.
func (v *view) addAsker() {
	for i := range v.now.Nodes {
		if n := &v.now.Nodes[i]; n.Self.ID == v.now.Asker {
			v.frame.Asker, v.frame.Cluster, v.frame.Secured = n.Self.Name, n.Self.Cluster, n.Self.Secured
		}
	}
}

func (v *view) addNodes() {
	f := &v.frame
	unreplaced := map[string]bool{}
	for _, m := range v.now.Unreplaced() {
		unreplaced[m.Boot] = true
	}
	silent := map[string]string{}
	for _, m := range v.now.Missing {
		silent[m.Boot] = cmp.Or(m.Reason, "it does not answer")
	}
	for _, m := range v.now.Members {
		f.Members[m.Status]++
		n := node{
			ID: m.ID, Name: m.Name, Boot: m.Boot, Address: m.Address, Status: m.Status, Tags: m.Tags, Error: m.Error,
			Silent: silent[m.Boot], Failed: m.Failed, Replaced: m.Status == "failed" && !unreplaced[m.Boot],
		}
		if d := v.now.at(m.Boot); d != nil {
			d.index = len(f.Nodes)
			v.fill(&n, d)
		}
		f.Nodes = append(f.Nodes, n)
	}
}

// fill adds what a node tells of itself.
func (v *view) fill(n *node, d *sampled) {
	n.State, n.Release, n.Links = d.Self.State, d.Process.Release(), len(d.Links)+d.LeftOut.Links
	n.Started = v.now.Time.Add(-d.Time.Sub(d.Self.Started))
	n.Goroutines, n.Heap, n.Memory, n.GCs = d.Process.Goroutines, d.Process.Heap, d.Process.Memory, d.Process.GCs
	v.frame.Releases[n.Release]++
	for i := range d.Verticles {
		v.frame.Verticles[d.Verticles[i].State]++
	}
	before := v.base.at(n.Boot)
	if p := paceOf(before, d); p != 0 {
		n.Sent, n.Handled = p.of(before.messages.Sent, d.messages.Sent), p.of(before.messages.Handled, d.messages.Handled)
		n.Wrong = p.of(failed(&before.messages)+lost(&before.messages), failed(&d.messages)+lost(&d.messages))
	}
}

func (v *view) addTotals() {
	t := &v.frame.Totals
	for _, d := range v.now.nodes {
		t.FailedEver += failed(&d.messages)
		t.LostEver += lost(&d.messages)
		before := v.base.at(d.Self.Boot)
		p := paceOf(before, d)
		if p == 0 {
			continue
		}
		t.Sent = add(t.Sent, p.of(before.messages.Sent, d.messages.Sent))
		t.Handled = add(t.Handled, p.of(before.messages.Handled, d.messages.Handled))
		t.Failed = add(t.Failed, p.of(failed(&before.messages), failed(&d.messages)))
		t.Lost = add(t.Lost, p.of(lost(&before.messages), lost(&d.messages)))
		for boot, l := range d.links {
			if was := before.links[boot]; was != nil {
				t.Bytes = add(t.Bytes, p.of(value(was.BytesOut), value(l.BytesOut)))
			}
		}
	}
	t.P50, t.P99 = v.took.quantiles()
	for i := range v.addresses {
		a := &v.addresses[i]
		t.Waiting, t.Queued, t.Running = t.Waiting+a.Waiting, t.Queued+a.Queued, t.Running+a.Running
	}
}

// node is all that a node tells, but for its lists.
func (v *view) node(q question) (any, bool) {
	d := v.now.at(q.name)
	if d == nil {
		return nil, false
	}
	n := *d.Node
	n.Members, n.Links, n.Addresses, n.Verticles = nil, []inspect.Link{}, []inspect.Address{}, []inspect.Verticle{}
	return n, true
}

// rows are those of a table, and how many there are without a bound.
type rows[T any] struct {
	Rows []T `json:"rows"`
	All  int `json:"all"`
}

// sorted returns the first rows of a table in the order of a column, which is a number,
// and else by what less says.
func sorted[T any](all []T, q question, columns map[string]func(*T) float64, text func(a, b *T) int) rows[T] {
	column := columns[q.sort]
	slices.SortStableFunc(all, func(a, b T) int {
		by := 0
		if column != nil {
			by = cmp.Compare(column(&b), column(&a))
		} else if q.sort != "" {
			by = text(&b, &a)
		}
		if !q.descending {
			by = -by
		}
		return cmp.Or(by, text(&a, &b))
	})
	r := rows[T]{All: len(all), Rows: all[:min(len(all), q.most)]}
	if r.Rows == nil {
		r.Rows = []T{}
	}
	return r
}

// has reports whether one of the texts has what is looked for, in any case of letters.
func has(match string, texts ...string) bool {
	match = strings.ToLower(match)
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(s), match) })
}
