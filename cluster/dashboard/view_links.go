package dashboard

import (
	"cmp"
	"strings"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// A pair is two nodes that live, by their places in the frame's list; what is between
// them: one of the pair states; what goes over it in both directions, in bytes a second,
// -1 while that is not known; and the round trip in seconds, 0 while none was measured.
// It is a list in JSON, as of 50 nodes there are 1,225.
type pair [5]float64

// The states of a pair.
const (
	pairUp     = iota
	pairSlow   // messages wait for room in the link, at one end or both
	pairOneWay // one end has the link, and the other has not
	pairDown   // both lack it, or the one that answers does
)

// queuedMuch is how many bytes that wait in a link show that it is slow.
const queuedMuch = 256 << 10

// addPairs looks at each two nodes of which one at least answers, and notes since when
// links are slow.
func (v *view) addPairs(slow map[string]time.Time) {
	nodes := v.frame.Nodes
	was := map[string]bool{}
	for i := range nodes {
		for k := i + 1; k < len(nodes); k++ {
			if !lives(&nodes[i]) || !lives(&nodes[k]) {
				continue
			}
			a, b := v.now.at(nodes[i].Boot), v.now.at(nodes[k].Boot)
			if a != nil || b != nil {
				v.frame.Pairs = append(v.frame.Pairs, v.pair(i, k, a, b, slow, was))
			}
		}
	}
	for key := range slow {
		if !was[key] {
			delete(slow, key)
		}
	}
}

func lives(n *node) bool { return n.Status == "alive" || n.Status == "leaving" }

func (v *view) pair(i, k int, a, b *sampled, slow map[string]time.Time, was map[string]bool) pair {
	p := pair{float64(i), float64(k), pairUp, -1, 0}
	ends, links := 0, 0
	for _, end := range [2]struct {
		of   *sampled
		peer string
	}{{a, v.frame.Nodes[k].Boot}, {b, v.frame.Nodes[i].Boot}} {
		if end.of == nil {
			continue
		}
		ends++
		l := end.of.links[end.peer]
		if l == nil {
			continue
		}
		links++
		p[4] = max(p[4], value(l.RoundTrip))
		bytes, stalls := v.linkRates(end.of, l)
		if bytes != nil {
			p[3] = max(p[3], 0) + *bytes
		}
		if value(stalls) > 0 || value(l.Queued) >= queuedMuch {
			p[2] = pairSlow
			key := end.of.Self.Boot + end.peer
			was[key] = true
			if slow[key].IsZero() {
				slow[key] = v.now.Time
			}
		}
	}
	switch {
	case links == 0:
		p[2] = pairDown
	case links < ends:
		p[2] = pairOneWay
	}
	return p
}

// linkRates are the bytes that a node writes to a link, and its stalls, in a second.
func (v *view) linkRates(d *sampled, l *inspect.Link) (bytes, stalls *float64) {
	before := v.base.at(d.Self.Boot)
	p := paceOf(before, d)
	if p == 0 || before.links[l.Boot] == nil {
		return nil, nil
	}
	was := before.links[l.Boot]
	return p.of(value(was.BytesOut), value(l.BytesOut)), p.of(value(was.Stalls), value(l.Stalls))
}

// A link is one as its end sees it.
type link struct {
	From string `json:"from"`
	To   string `json:"to"`
	inspect.Link
	In        *float64  `json:"in_rate,omitempty"`
	Out       *float64  `json:"out_rate,omitempty"`
	SlowSince time.Time `json:"slow_since,omitzero"`
}

var linkColumns = map[string]func(*link) float64{
	"pain": func(l *link) float64 {
		slow := 0.0
		if !l.SlowSince.IsZero() {
			slow = 1e12
		}
		return slow + float64(value(l.Queued)) + float64(value(l.Stalls))
	},
	"in":        func(l *link) float64 { return value(l.In) },
	"out":       func(l *link) float64 { return value(l.Out) },
	"rtt":       func(l *link) float64 { return value(l.RoundTrip) },
	"queued":    func(l *link) float64 { return float64(value(l.Queued)) },
	"unsettled": func(l *link) float64 { return float64(value(l.Unsettled)) },
	"requests":  func(l *link) float64 { return float64(value(l.Requests)) },
	"stalls":    func(l *link) float64 { return float64(value(l.Stalls)) },
	"silent":    func(l *link) float64 { return value(l.Silent) },
	"since":     func(l *link) float64 { return float64(-l.Since.Unix()) },
}

// linkRows are the links of all nodes that answer, each from both ends.
func (v *view) linkRows(q question) (rows[link], bool) {
	all := []link{}
	for i := range v.now.Nodes {
		d := v.now.at(v.now.Nodes[i].Self.Boot)
		for k := range d.Links {
			l := link{From: d.Self.Name, To: d.Links[k].Name, Link: d.Links[k], SlowSince: v.slow[d.Self.Boot+d.Links[k].Boot]}
			if !has(q.match, l.From, l.To, l.Address) {
				continue
			}
			l.Out, _ = v.linkRates(d, &d.Links[k])
			if before := v.base.at(d.Self.Boot); before != nil && before.links[l.Boot] != nil {
				l.In = paceOf(before, d).of(value(before.links[l.Boot].BytesIn), value(l.BytesIn))
			}
			all = append(all, l)
		}
	}
	return sorted(all, q, linkColumns, func(a, b *link) int {
		return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To))
	}), true
}
