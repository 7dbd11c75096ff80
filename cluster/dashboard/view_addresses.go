package dashboard

import (
	"math"
	"slices"
	"strings"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// An address is what all nodes together tell of one.
type address struct {
	Address   string   `json:"address"`
	Consumers int      `json:"consumers"`
	Nodes     int      `json:"nodes"` // that have some of them
	Sent      *float64 `json:"sent_rate,omitempty"`
	Handled   *float64 `json:"handled_rate,omitempty"`
	Wrong     *float64 `json:"wrong_rate,omitempty"` // failed or lost
	Failed    uint64   `json:"failed"`
	Lost      uint64   `json:"lost"`
	Waiting   int      `json:"waiting"`
	Queued    int      `json:"queued"`
	Unsettled int      `json:"unsettled"`
	Running   int      `json:"running"`
	Paused    int      `json:"paused"`
	P50       *float64 `json:"p50_seconds,omitempty"`
	P99       *float64 `json:"p99_seconds,omitempty"`
	took      *spread
}

// own begins the addresses of the library's own, which are shown to who looks for them.
const own = "_runrig."

func (v *view) addAddresses() {
	index := map[string]int{}
	for boot, d := range v.now.nodes {
		v.frame.AddressesOver += d.LeftOut.Addresses
		before := v.base.at(boot)
		p := paceOf(before, d)
		for i := range d.Addresses {
			a := &d.Addresses[i]
			k, known := index[a.Address]
			if !known {
				k = len(v.addresses)
				index[a.Address] = k
				v.addresses = append(v.addresses, address{Address: a.Address})
			}
			v.addresses[k].add(a, before, p)
			if !strings.HasPrefix(a.Address, own) {
				v.took.add(before.durations(a.Address), a.Durations)
			}
		}
	}
	for i := range v.addresses {
		if a := &v.addresses[i]; a.took != nil {
			a.P50, a.P99 = a.took.quantiles()
			a.took = nil
		}
	}
	v.frame.Ghosts = v.ghosts()
	v.addWorst()
}

// add adds what one node tells.
func (a *address) add(of *inspect.Address, before *sampled, p pace) {
	a.Consumers += of.Local
	if of.Local > 0 {
		a.Nodes++
	}
	a.Failed += failed(&of.Messages)
	a.Lost += lost(&of.Messages)
	a.Waiting, a.Queued, a.Unsettled = a.Waiting+of.Waiting, a.Queued+of.Queued, a.Unsettled+of.Unsettled
	a.Running, a.Paused = a.Running+of.Running, a.Paused+of.Paused
	if of.Durations != nil {
		if a.took == nil {
			a.took = new(spread)
		}
		a.took.add(before.durations(of.Address), of.Durations)
	}
	if p == 0 {
		return
	}
	was := inspect.Messages{} // of an address that is new
	if old := before.addresses[of.Address]; old != nil {
		was = old.Messages
	}
	a.Sent = add(a.Sent, p.of(was.Sent, of.Sent))
	a.Handled = add(a.Handled, p.of(was.Handled, of.Handled))
	a.Wrong = add(a.Wrong, p.of(failed(&was)+lost(&was), failed(&of.Messages)+lost(&of.Messages)))
}

// pain says how much is wrong with an address: now, and then since the nodes started.
func (a *address) pain() float64 {
	return 1e6*value(a.Wrong) + 1e3*float64(a.Waiting) + float64(a.Queued) + float64(a.Failed+a.Lost)/1e3
}

// ghosts counts the pairs of nodes of which one was found twice to know other consumers
// of the other than that has. It is nil where not all nodes tell.
func (v *view) ghosts() *int {
	n := 0
	for i := range v.now.Nodes {
		if d := &v.now.Nodes[i]; d.Routes == nil || d.LeftOut.Links > 0 {
			return nil
		}
	}
	if len(v.now.Missing) > 0 {
		return nil
	}
	for _, f := range v.frame.Findings {
		if f.What == "ghosts" {
			n++
		}
	}
	return &n
}

// worstRows is how many addresses each tab is sent.
const worstRows = 8

func (v *view) addWorst() {
	mine := slices.DeleteFunc(slices.Clone(v.addresses), func(a address) bool { return strings.HasPrefix(a.Address, own) })
	v.frame.Addresses = len(mine)
	v.frame.Worst = sorted(mine, question{sort: "pain", descending: true, most: worstRows}, addressColumns, byAddress).Rows
}

func byAddress(a, b *address) int { return strings.Compare(a.Address, b.Address) }

var addressColumns = map[string]func(*address) float64{
	"pain": func(a *address) float64 {
		return a.pain()*1e6 + math.Floor(math.Log2(1+value(a.Sent)+value(a.Handled))) // rows of much the same traffic stay where they are
	},
	"consumers": func(a *address) float64 { return float64(a.Consumers) },
	"sent":      func(a *address) float64 { return value(a.Sent) },
	"handled":   func(a *address) float64 { return value(a.Handled) },
	"wrong":     func(a *address) float64 { return value(a.Wrong) },
	"failed":    func(a *address) float64 { return float64(a.Failed) },
	"lost":      func(a *address) float64 { return float64(a.Lost) },
	"waiting":   func(a *address) float64 { return float64(a.Waiting) },
	"queued":    func(a *address) float64 { return float64(a.Queued) },
	"running":   func(a *address) float64 { return float64(a.Running) },
	"p50":       func(a *address) float64 { return value(a.P50) },
	"p99":       func(a *address) float64 { return value(a.P99) },
}

// addressRows are the addresses of all nodes.
func (v *view) addressRows(q question) (rows[address], bool) {
	all := slices.DeleteFunc(slices.Clone(v.addresses), func(a address) bool {
		return !has(q.match, a.Address) || strings.HasPrefix(a.Address, own) && !strings.HasPrefix(q.match, "_")
	})
	return sorted(all, q, addressColumns, byAddress), true
}

// A place is what one node tells of an address.
type place struct {
	Node    string            `json:"node"`
	Boot    string            `json:"boot"`
	Knows   int               `json:"knows"` // consumers, on all nodes
	Sent    *float64          `json:"sent_rate,omitempty"`
	Handled *float64          `json:"handled_rate,omitempty"`
	Counts  map[string]uint64 `json:"counts"` // since the node started; what is zero is absent
	inspect.Address
}

// address is what each node tells of one.
func (v *view) address(q question) (rows[place], bool) {
	all := []place{}
	for i := range v.now.Nodes {
		d := v.now.at(v.now.Nodes[i].Self.Boot)
		a := d.addresses[q.name]
		if a == nil {
			continue
		}
		one := place{Node: d.Self.Name, Boot: d.Self.Boot, Knows: a.Consumers, Address: *a, Counts: map[string]uint64{}}
		a.Messages.Each(func(name string, n uint64) {
			if n > 0 {
				one.Counts[name] = n
			}
		})
		if before := v.base.at(d.Self.Boot); before != nil && before.addresses[q.name] != nil {
			p, was := paceOf(before, d), before.addresses[q.name]
			one.Sent, one.Handled = p.of(was.Sent, a.Sent), p.of(was.Handled, a.Handled)
		}
		all = append(all, one)
	}
	return rows[place]{all, len(all)}, len(all) > 0
}
