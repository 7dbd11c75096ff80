package inspect

// A Ghost is a pair of nodes of which one knows other consumers of the other than that
// has.
type Ghost struct {
	Node     string `json:"node"`     // ID of the one that knows
	Of       string `json:"of"`       // ID of the one that has
	Believed Routes `json:"believed"` // what it knows
	Has      Routes `json:"has"`      // what there is
}

// Ghosts returns all of a snapshot. Its nodes have told of slightly different moments: a
// Ghost that is in two snapshots, the same, is one; one that comes and goes was a change
// under way.
func (c *Cluster) Ghosts() (all []Ghost) {
	has := c.byBoot()
	for k := range c.Nodes {
		for _, l := range c.Nodes[k].Links {
			of := has[l.Boot]
			if of == nil || of.Routes == nil || l.Believed == nil || *l.Believed == *of.Routes {
				continue
			}
			all = append(all, Ghost{Node: c.Nodes[k].Self.ID, Of: of.Self.ID, Believed: *l.Believed, Has: *of.Routes})
		}
	}
	return all
}
