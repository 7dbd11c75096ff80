package dashboard

import (
	"slices"
	"strings"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// A deployment is a verticle on a node.
type deployment struct {
	Node  string   `json:"node"`
	Boot  string   `json:"boot"`
	Depth int      `json:"depth"`              // below a parent
	Share *float64 `json:"busy_now,omitempty"` // of its time, since the last sample
	Ever  float64  `json:"busy"`               // since it was deployed
	inspect.Verticle
}

// verticleRows are the deployments of all nodes, node by node, children below their
// parents. A search finds those that have the text, and their parents.
func (v *view) verticleRows(q question) (rows[deployment], bool) {
	all := []deployment{}
	for i := range v.now.Nodes {
		all = append(all, v.verticlesOf(v.now.at(v.now.Nodes[i].Self.Boot), q.match)...)
	}
	slices.SortStableFunc(all, func(a, b deployment) int { return strings.Compare(a.Node, b.Node) })
	return rows[deployment]{all[:min(len(all), q.most)], len(all)}, true
}

func (v *view) verticlesOf(d *sampled, match string) (all []deployment) {
	children := map[string][]*inspect.Verticle{}
	for i := range d.Verticles {
		parent := d.Verticles[i].Parent
		if d.verticles[parent] == nil {
			parent = ""
		}
		children[parent] = append(children[parent], &d.Verticles[i])
	}
	var walk func(parent string, depth int) bool
	walk = func(parent string, depth int) (found bool) {
		for _, c := range children[parent] {
			at := len(all)
			all = append(all, v.deployment(d, c, depth))
			if walk(c.ID, depth+1) || has(match, c.Name, c.State, d.Self.Name, c.Failure) || has(match, c.Consumers...) {
				found = true
			} else {
				all = all[:at]
			}
		}
		return found
	}
	walk("", 0)
	return all
}

func (v *view) deployment(d *sampled, c *inspect.Verticle, depth int) deployment {
	one := deployment{Node: d.Self.Name, Boot: d.Self.Boot, Depth: depth, Verticle: *c}
	if age := d.Time.Sub(c.Deployed).Seconds(); age > 0 {
		one.Ever = c.Busy / age
	}
	if before := v.base.at(d.Self.Boot); before != nil && before.verticles[c.ID] != nil {
		if p := paceOf(before, d); p != 0 {
			share := max(0, c.Busy-before.verticles[c.ID].Busy) * float64(p)
			one.Share = &share
		}
	}
	return one
}
