package command

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// Levels of a finding, which are exit codes.
const (
	levelOK       = 0
	levelWarning  = 1
	levelCritical = 2
)

var levels = [...]string{"ok", "WARNING", "CRITICAL", "UNKNOWN"}

// A finding is one thing that is not as it should be.
type finding struct {
	Level int    `json:"level"`
	What  string `json:"what"` // members, links, ghosts, stalls, versions, answers or trouble
	Text  string `json:"text"`
}

// A verdict is what check finds, as JSON.
type verdict struct {
	Version  int       `json:"version"`
	Level    int       `json:"level"`
	Text     string    `json:"text"`
	Findings []finding `json:"findings"`
}

// checkPause is between the two looks of check: what is wrong in one of them only has
// come or gone meanwhile.
const checkPause = 300 * time.Millisecond

// check looks twice, and tells what is wrong both times.
func check(ctx context.Context, c *call) error {
	before, now, err := c.lookTwice(ctx)
	if err != nil {
		fmt.Fprintf(c.out, "UNKNOWN: %s\n", show(strings.ReplaceAll(err.Error(), "\n", "; ")))
		return exitCode(exitUnknown)
	}
	v := verdict{Version: inspect.Version, Findings: examine(&before, &now, c.least)}
	for _, f := range v.Findings {
		v.Level = max(v.Level, f.Level)
	}
	alive := countAlive(&now)
	v.Text = fmt.Sprintf("%s: %d nodes alive, %d have answered", levels[v.Level], alive, len(now.Nodes))
	if c.json {
		err = c.document(v)
	} else {
		fmt.Fprintln(c.out, v.Text)
		for _, f := range v.Findings {
			m := warn
			if f.Level == levelCritical {
				m = bad
			}
			fmt.Fprintf(c.out, "%s %s: %s\n", c.style.paint(m, levels[f.Level]), f.What, show(f.Text))
		}
	}
	if err == nil && v.Level > levelOK {
		err = exitCode(v.Level)
	}
	return err
}

func (c *call) lookTwice(ctx context.Context) (before, now inspect.Cluster, err error) {
	client, err := c.attach(ctx)
	if err != nil {
		return before, now, err
	}
	defer client.Close()
	q := inspect.Query{Addresses: 10_000, Verticles: -1}
	if before, err = client.Cluster(ctx, q); err != nil {
		return before, now, err
	}
	select {
	case <-time.After(checkPause):
	case <-ctx.Done():
		return before, now, ctx.Err()
	}
	now, err = client.Cluster(ctx, q)
	return before, now, err
}

func countAlive(s *inspect.Cluster) (n int) {
	for _, m := range s.Members {
		if m.Status == "alive" {
			n++
		}
	}
	return n
}

// examine returns what is wrong in two snapshots.
func examine(before, now *inspect.Cluster, least int) (all []finding) {
	all = append(all, checkMembers(now, least)...)
	all = append(all, both(before, now, checkAnswers)...)
	all = append(all, both(before, now, checkLinks)...)
	all = append(all, both(before, now, checkGhosts)...)
	all = append(all, both(before, now, checkWaiting)...)
	all = append(all, checkSkipped(before, now)...)
	all = append(all, checkVersions(now)...)
	all = append(all, both(before, now, checkTrouble)...)
	slices.SortStableFunc(all, func(a, b finding) int { return b.Level - a.Level })
	return all
}

// both returns what is found in both snapshots.
func both(before, now *inspect.Cluster, f func(*inspect.Cluster) []finding) []finding {
	was := f(before)
	return slices.DeleteFunc(f(now), func(n finding) bool {
		return !slices.ContainsFunc(was, func(b finding) bool { return b.Text == n.Text })
	})
}

// checkMembers looks whether there are enough nodes, and whether one that failed was
// replaced: by one that has started since.
func checkMembers(s *inspect.Cluster, least int) (all []finding) {
	if alive := countAlive(s); alive < least {
		all = append(all, finding{levelCritical, "members", fmt.Sprintf("%d nodes are alive; -min is %d", alive, least)})
	}
	started := startTimes(s)
	for _, m := range s.Members {
		if m.Status != "failed" {
			continue
		}
		if i := slices.IndexFunc(started, func(t time.Time) bool { return t.After(m.Failed) }); i >= 0 {
			started = slices.Delete(started, i, i+1)
			continue
		}
		text := fmt.Sprintf("%s at %s failed, and no node has come for it", m.ID, m.Address)
		if !m.Failed.IsZero() {
			text = fmt.Sprintf("%s at %s failed %s ago, and no node has come for it", m.ID, m.Address, since(s.Time, m.Failed))
		}
		all = append(all, finding{levelWarning, "members", text})
	}
	return all
}

// startTimes are when the nodes started, by the clock of the one that asked.
func startTimes(s *inspect.Cluster) (all []time.Time) {
	for i := range s.Nodes {
		n := &s.Nodes[i]
		all = append(all, s.Time.Add(-n.Time.Sub(n.Self.Started)))
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// checkAnswers looks whether all nodes answer.
func checkAnswers(s *inspect.Cluster) (all []finding) {
	for _, m := range s.Missing {
		all = append(all, finding{levelCritical, "answers", fmt.Sprintf("%s at %s does not answer: %s", m.ID, m.Address, m.Reason)})
	}
	return all
}

// checkLinks looks whether each node that answers is linked with each other: where not,
// the cluster may be split.
func checkLinks(s *inspect.Cluster) (all []finding) {
	for i := range s.Nodes {
		n := &s.Nodes[i]
		linked := map[string]bool{n.Self.Boot: true}
		for _, l := range n.Links {
			linked[l.Boot] = true
		}
		for k := range s.Nodes {
			if o := &s.Nodes[k]; !linked[o.Self.Boot] && n.LeftOut.Links == 0 {
				all = append(all, finding{levelCritical, "links", fmt.Sprintf("%s has no link to %s", n.Self.ID, o.Self.ID)})
			}
		}
	}
	return all
}

// checkGhosts looks for consumers that a node knows and no node has. (There may be more
// than it knows: those that are for their own node only.)
func checkGhosts(s *inspect.Cluster) (all []finding) {
	if len(s.Missing) > 0 || slices.ContainsFunc(s.Nodes, func(n inspect.Node) bool { return n.LeftOut.Addresses > 0 }) {
		return nil // what is not told may have them
	}
	real := map[string]int{}
	for i := range s.Nodes {
		for _, a := range s.Nodes[i].Addresses {
			real[a.Address] += a.Local
		}
	}
	for i := range s.Nodes {
		for _, a := range s.Nodes[i].Addresses {
			if ghosts := a.Consumers - real[a.Address]; ghosts > 0 {
				all = append(all, finding{levelCritical, "ghosts", fmt.Sprintf("%s knows %d consumers of %s that no node has", s.Nodes[i].Self.ID, ghosts, show(a.Address))})
			}
		}
	}
	return all
}

// checkWaiting looks for addresses whose consumers have no room.
func checkWaiting(s *inspect.Cluster) (all []finding) {
	for i := range s.Nodes {
		for _, a := range s.Nodes[i].Addresses {
			if a.Waiting > 0 {
				all = append(all, finding{levelWarning, "stalls", fmt.Sprintf("messages of %s wait for room at the consumers of %s", s.Nodes[i].Self.ID, show(a.Address))})
			}
		}
	}
	return all
}

// checkSkipped looks for publishes that have just been skipped.
func checkSkipped(before, now *inspect.Cluster) (all []finding) {
	was := byBoot(before)
	for i := range now.Nodes {
		n := &now.Nodes[i]
		if old := was[n.Self.Boot]; old != nil && n.Messages.Skipped > old.Messages.Skipped {
			all = append(all, finding{levelWarning, "stalls", fmt.Sprintf("publishes of %s are skipped at consumers that have no room", n.Self.ID)})
		}
	}
	return all
}

// checkVersions looks whether all nodes can talk, and are of one release.
func checkVersions(s *inspect.Cluster) (all []finding) {
	releases := map[string]bool{}
	for i := range s.Nodes {
		n := &s.Nodes[i].Self
		releases[versionOf(&s.Nodes[i].Process)] = true
		for k := range s.Nodes[:i] {
			if o := &s.Nodes[k].Self; n.MinVersion > o.MaxVersion || o.MinVersion > n.MaxVersion {
				all = append(all, finding{levelCritical, "versions", fmt.Sprintf("%s and %s speak no common version of the protocol", o.ID, n.ID)})
			}
		}
	}
	if len(releases) > 1 {
		all = append(all, finding{levelWarning, "versions", fmt.Sprintf("the nodes are of %d releases, as while one is deployed", len(releases))})
	}
	return all
}

// checkTrouble has what the nodes themselves say is wrong.
func checkTrouble(s *inspect.Cluster) (all []finding) {
	for i := range s.Nodes {
		for _, t := range s.Nodes[i].Self.Trouble {
			all = append(all, finding{levelWarning, "trouble", s.Nodes[i].Self.ID + ": " + t})
		}
	}
	return all
}
