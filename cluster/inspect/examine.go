package inspect

import (
	"fmt"
	"slices"
	"time"
)

// A Finding is one thing in a cluster that is not as it should be.
type Finding struct {
	Level int    `json:"level"` // LevelWarning or LevelCritical
	What  string `json:"what"`  // members, answers, links, ghosts, stalls, versions or trouble
	Text  string `json:"text"`
}

// The levels of a [Finding].
const (
	LevelWarning  = 1
	LevelCritical = 2
)

// Examine returns what is wrong in two snapshots, the worst first. What is wrong in one
// of them only has come or gone meanwhile, and is left out; so some 300 ms should be
// between them.
func Examine(before, now *Cluster) (all []Finding) {
	all = append(all, checkMembers(now)...)
	all = append(all, both(before, now, checkAnswers)...)
	all = append(all, both(before, now, checkLinks)...)
	all = append(all, both(before, now, checkGhosts)...)
	all = append(all, both(before, now, checkWaiting)...)
	all = append(all, checkSkipped(before, now)...)
	all = append(all, checkVersions(now)...)
	all = append(all, both(before, now, checkTrouble)...)
	slices.SortStableFunc(all, func(a, b Finding) int { return b.Level - a.Level })
	return all
}

// both returns what is found in both snapshots.
func both(before, now *Cluster, f func(*Cluster) []Finding) []Finding {
	found := f(now)
	if len(found) == 0 {
		return nil
	}
	was := map[string]bool{}
	for _, b := range f(before) {
		was[b.Text] = true
	}
	return slices.DeleteFunc(found, func(n Finding) bool { return !was[n.Text] })
}

// byBoot finds the nodes of a snapshot by their boot ids.
func (c *Cluster) byBoot() map[string]*Node {
	all := map[string]*Node{}
	for i := range c.Nodes {
		all[c.Nodes[i].Self.Boot] = &c.Nodes[i]
	}
	return all
}

// checkMembers looks whether nodes that failed were replaced.
func checkMembers(s *Cluster) (all []Finding) {
	for _, m := range s.Unreplaced() {
		text := fmt.Sprintf("%s at %s failed, and no node has come for it", m.ID, m.Address)
		if !m.Failed.IsZero() {
			text = fmt.Sprintf("%s at %s failed %v ago, and no node has come for it", m.ID, m.Address, s.Time.Sub(m.Failed).Round(time.Second))
		}
		all = append(all, Finding{LevelWarning, "members", text})
	}
	return all
}

// Unreplaced returns the members that have failed, and for which no node has started
// since.
func (c *Cluster) Unreplaced() (all []Member) {
	started := startTimes(c)
	for _, m := range c.Members {
		if m.Status != "failed" {
			continue
		}
		if i := slices.IndexFunc(started, func(t time.Time) bool { return t.After(m.Failed) }); i >= 0 {
			started = slices.Delete(started, i, i+1)
			continue
		}
		all = append(all, m)
	}
	return all
}

// startTimes are when the nodes started, by the clock of the one that asked.
func startTimes(s *Cluster) (all []time.Time) {
	for i := range s.Nodes {
		n := &s.Nodes[i]
		all = append(all, s.Time.Add(-n.Time.Sub(n.Self.Started)))
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// checkAnswers looks whether all nodes answer.
func checkAnswers(s *Cluster) (all []Finding) {
	for _, m := range s.Missing {
		all = append(all, Finding{LevelCritical, "answers", fmt.Sprintf("%s at %s does not answer: %s", m.ID, m.Address, m.Reason)})
	}
	return all
}

// checkLinks looks whether each node that answers is linked with each other: where not,
// the cluster may be split.
func checkLinks(s *Cluster) (all []Finding) {
	for i := range s.Nodes {
		n := &s.Nodes[i]
		linked := map[string]bool{n.Self.Boot: true}
		for _, l := range n.Links {
			linked[l.Boot] = true
		}
		for k := range s.Nodes {
			if o := &s.Nodes[k]; !linked[o.Self.Boot] && n.LeftOut.Links == 0 {
				all = append(all, Finding{LevelCritical, "links", fmt.Sprintf("%s has no link to %s", n.Self.ID, o.Self.ID)})
			}
		}
	}
	return all
}

// checkGhosts looks for nodes that know other consumers of each other than there are.
func checkGhosts(s *Cluster) (all []Finding) {
	for _, g := range s.Ghosts() {
		text := fmt.Sprintf("%s knows %d consumers of %s, which has %d", g.Node, g.Believed.Count, g.Of, g.Has.Count)
		if g.Believed.Count == g.Has.Count {
			text += ", not all the same"
		}
		all = append(all, Finding{LevelCritical, "ghosts", text + fmt.Sprintf(" (digests %s and %s)", g.Believed.Digest, g.Has.Digest)})
	}
	return all
}

// checkWaiting looks for addresses whose consumers have no room.
func checkWaiting(s *Cluster) (all []Finding) {
	for i := range s.Nodes {
		for _, a := range s.Nodes[i].Addresses {
			if a.Waiting > 0 {
				all = append(all, Finding{LevelWarning, "stalls", fmt.Sprintf("messages of %s wait for room at the consumers of %s", s.Nodes[i].Self.ID, a.Address)})
			}
		}
	}
	return all
}

// checkSkipped looks for publishes that have just been skipped.
func checkSkipped(before, now *Cluster) (all []Finding) {
	was := before.byBoot()
	for i := range now.Nodes {
		n := &now.Nodes[i]
		if old := was[n.Self.Boot]; old != nil && n.Messages.Skipped > old.Messages.Skipped {
			all = append(all, Finding{LevelWarning, "stalls", fmt.Sprintf("publishes of %s are skipped at consumers that have no room", n.Self.ID)})
		}
	}
	return all
}

// checkVersions looks whether all nodes can talk, and are of one release.
func checkVersions(s *Cluster) (all []Finding) {
	releases := map[string]bool{}
	for i := range s.Nodes {
		n := &s.Nodes[i].Self
		releases[s.Nodes[i].Process.Release()] = true
		for k := range s.Nodes[:i] {
			if o := &s.Nodes[k].Self; n.MinVersion > o.MaxVersion || o.MinVersion > n.MaxVersion {
				all = append(all, Finding{LevelCritical, "versions", fmt.Sprintf("%s and %s speak no common version of the protocol", o.ID, n.ID)})
			}
		}
	}
	if len(releases) > 1 {
		all = append(all, Finding{LevelWarning, "versions", fmt.Sprintf("the nodes are of %d releases, as while one is deployed", len(releases))})
	}
	return all
}

// checkTrouble has what the nodes themselves say is wrong.
func checkTrouble(s *Cluster) (all []Finding) {
	for i := range s.Nodes {
		for _, t := range s.Nodes[i].Self.Trouble {
			all = append(all, Finding{LevelWarning, "trouble", s.Nodes[i].Self.ID + ": " + t})
		}
	}
	return all
}
