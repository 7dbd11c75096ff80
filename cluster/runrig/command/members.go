package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// members shows the members as the node knows them, and what they say of themselves.
func members(ctx context.Context, c *call) error {
	return c.repeat(ctx, func(ctx context.Context, client *inspect.Client) error {
		s, err := client.Cluster(ctx, inspect.Query{Addresses: -1, Links: -1, Verticles: -1})
		if err != nil {
			return err
		}
		if c.json {
			return c.document(s)
		}
		c.style.clear(c.out)
		t := c.newTable("NAME", "BOOT", "ADDRESS", "STATUS", "LINK", "STATE", "UP", "VERSION", "TAGS")
		nodes := byBoot(&s)
		for _, m := range s.Members {
			state, up, version := cell{"?", faint}, "-", "-"
			if n := nodes[m.Boot]; n != nil {
				state = cell{n.Self.State, moodOf(n.Self.State)}
				up, version = since(s.Time, n.Self.Started), n.Process.Release()
			} else if why := missingWhy(&s, m.Boot); why != "" {
				state = cell{"missing: " + why, bad}
			}
			t.row(m.Name, m.Boot, m.Address, cell{statusText(&s, &m), moodOf(m.Status)}, linkText(&s, &m), state, up, version, tags(m.Tags))
		}
		t.write(c.out)
		c.leftOut("members", s.LeftOut.Members)
		return nil
	})
}

func byBoot(s *inspect.Cluster) map[string]*inspect.Node {
	all := map[string]*inspect.Node{}
	for i := range s.Nodes {
		all[s.Nodes[i].Self.Boot] = &s.Nodes[i]
	}
	return all
}

func missingWhy(s *inspect.Cluster, boot string) string {
	for _, m := range s.Missing {
		if m.Boot == boot {
			return m.Reason
		}
	}
	return ""
}

func statusText(s *inspect.Cluster, m *inspect.Member) string {
	if m.Status == "failed" && !m.Failed.IsZero() {
		return "failed " + since(s.Time, m.Failed) + " ago"
	}
	return m.Status
}

// linkText says how the asker is linked with a member.
func linkText(s *inspect.Cluster, m *inspect.Member) cell {
	switch {
	case m.ID == s.Asker:
		return cell{"itself", faint}
	case m.Linked:
		return cell{"up " + since(s.Time, m.Since), good}
	case m.Status == "alive":
		return cell{"none", bad}
	}
	return cell{"-", faint}
}

func moodOf(word string) mood {
	switch word {
	case "alive", "ready", "running", "alone":
		return good
	case "leaving", "joining", "degraded", "starting", "restarting", "stopping":
		return warn
	case "failed", "ended":
		return bad
	}
	return faint
}

func tags(all map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, k+"="+all[k])
	}
	return strings.Join(parts, " ")
}

// leftOut says how many of a kind are not shown.
func (c *call) leftOut(what string, n int) {
	if n > 0 {
		fmt.Fprintf(c.out, "and %d more %s\n", n, what)
	}
}

// monitorOverlap is for how long before a node was lost the next one's events are
// shown: among them is why.
const monitorOverlap = 2 * time.Second

// monitor shows events. When the node goes it takes another one.
func monitor(ctx context.Context, c *call) error {
	last := c.last
	var from time.Time
	for {
		client, err := c.attach(ctx)
		if err != nil {
			return err
		}
		err = client.Events(ctx, last, func(e inspect.Event) bool {
			return e.Time.Before(from) || c.event(e) == nil
		})
		client.Close()
		if err == nil || ctx.Err() != nil {
			return nil
		}
		fmt.Fprintf(c.err, "runrig monitor: %s; looking for another node\n", show(err.Error()))
		last, from = 256, time.Now().Add(-monitorOverlap)
	}
}

func (c *call) event(e inspect.Event) error {
	if c.json {
		return c.document(e)
	}
	text, m := e.Member, plain
	switch e.Kind {
	case "joined", "linked":
		m = good
	case "failed", "refused", "conflict", "unreached":
		m = bad
	case "left", "forgotten", "unlinked":
		m = warn
	case inspect.KindVerticle:
		text, m = fmt.Sprintf("%s %s, on %s", e.Name, e.State, e.Node), moodOf(e.State)
	case inspect.KindMessages:
		text, m = fmt.Sprintf("%d %s, on %s", e.Count, strings.ReplaceAll(e.Name, "_", " "), e.Node), warn
	}
	if e.Error != "" {
		text += ": " + e.Error
	}
	_, err := fmt.Fprintf(c.out, "%s  %s  %s\n", e.Time.Local().Format("15:04:05.000"), c.style.paint(m, fmt.Sprintf("%-9s", show(e.Kind))), show(strings.TrimPrefix(text, ": ")))
	return err
}
