package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// levels are those of findings, and exit codes.
var levels = [...]string{exitOK: "ok", inspect.LevelWarning: "WARNING", inspect.LevelCritical: "CRITICAL"}

// A verdict is what check finds, as JSON.
type verdict struct {
	Version  int               `json:"version"`
	Level    int               `json:"level"`
	Text     string            `json:"text"`
	Findings []inspect.Finding `json:"findings"`
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
			if f.Level == inspect.LevelCritical {
				m = bad
			}
			fmt.Fprintf(c.out, "%s %s: %s\n", c.style.paint(m, levels[f.Level]), f.What, show(f.Text))
		}
	}
	if err == nil && v.Level > exitOK {
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

// examine returns what is wrong in two snapshots, and whether there are enough nodes.
func examine(before, now *inspect.Cluster, least int) (all []inspect.Finding) {
	if alive := countAlive(now); alive < least {
		all = append(all, inspect.Finding{Level: inspect.LevelCritical, What: "members", Text: fmt.Sprintf("%d nodes are alive; -min is %d", alive, least)})
	}
	return append(all, inspect.Examine(before, now)...)
}
