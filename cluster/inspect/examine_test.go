package inspect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// healthy is the snapshot of a cluster of three.
func healthy() inspect.Cluster {
	now := time.Now()
	s := inspect.Cluster{Version: 1, Time: now, Asker: "a"}
	for _, name := range []string{"a", "b", "c"} {
		n := inspect.Node{Time: now, Self: inspect.Self{ID: name, Name: name, Boot: name, MinVersion: 1, MaxVersion: 1, Started: now.Add(-time.Hour)}}
		for _, other := range []string{"a", "b", "c"} {
			if other != name {
				n.Links = append(n.Links, inspect.Link{ID: other, Boot: other, Believed: &inspect.Routes{Count: 1, Digest: other}})
			}
		}
		n.Routes = &inspect.Routes{Count: 1, Digest: name}
		n.Addresses = []inspect.Address{{Address: "x", Consumers: 3, Local: 1}}
		s.Nodes = append(s.Nodes, n)
		s.Members = append(s.Members, inspect.Member{ID: name, Boot: name, Status: "alive", Linked: true})
	}
	return s
}

var levels = [...]string{inspect.LevelWarning: "WARNING", inspect.LevelCritical: "CRITICAL"}

// TestExamine: each thing that is wrong is found when it is so twice, and no other.
func TestExamine(t *testing.T) {
	t.Parallel()
	dead := inspect.Member{ID: "d", Status: "failed", Address: "d:1"}
	for what, c := range map[string]struct {
		wrong func(s *inspect.Cluster)
		once  bool
		want  []string // what, with the level
	}{
		"nothing":   {func(*inspect.Cluster) {}, false, nil},
		"a failure": {func(s *inspect.Cluster) { dead.Failed = s.Time.Add(-time.Minute); s.Members = append(s.Members, dead) }, false, []string{"WARNING members"}},
		"a failure of before anybody looked": {func(s *inspect.Cluster) {
			d := dead
			d.Failed = time.Time{}
			s.Members = append(s.Members, d)
		}, false, nil},
		"a failure that was mended": {func(s *inspect.Cluster) {
			d := dead
			d.Failed = s.Time.Add(-time.Minute)
			s.Members = append(s.Members, d)
			s.Nodes[1].Self.Started = s.Time.Add(-30 * time.Second)
		}, false, nil},
		"two failures, one mended": {func(s *inspect.Cluster) {
			d := dead
			d.Failed = s.Time.Add(-time.Minute)
			s.Members = append(s.Members, d, d)
			s.Nodes[1].Self.Started = s.Time.Add(-30 * time.Second)
		}, false, []string{"WARNING members"}},
		"no answer":           {func(s *inspect.Cluster) { s.Missing = append(s.Missing, inspect.Missing{ID: "c"}) }, false, []string{"CRITICAL answers"}},
		"no answer, once":     {func(s *inspect.Cluster) { s.Missing = append(s.Missing, inspect.Missing{ID: "c"}) }, true, nil},
		"no link one way":     {func(s *inspect.Cluster) { s.Nodes[0].Links = s.Nodes[0].Links[1:] }, false, []string{"CRITICAL links"}},
		"a ghost":             {func(s *inspect.Cluster) { s.Nodes[2].Links[0].Believed.Count = 2 }, false, []string{"CRITICAL ghosts"}},
		"a ghost, once":       {func(s *inspect.Cluster) { s.Nodes[2].Links[0].Believed.Count = 2 }, true, nil},
		"another consumer":    {func(s *inspect.Cluster) { s.Nodes[2].Links[0].Believed.Digest = "x" }, false, []string{"CRITICAL ghosts"}},
		"an older release":    {func(s *inspect.Cluster) { s.Nodes[2].Links[0].Believed, s.Nodes[1].Routes = nil, nil }, false, nil},
		"what is not told":    {func(s *inspect.Cluster) { s.Nodes[2].Addresses, s.Nodes[0].LeftOut.Addresses = nil, 1 }, false, nil},
		"messages that wait":  {func(s *inspect.Cluster) { s.Nodes[0].Addresses[0].Waiting = 2 }, false, []string{"WARNING stalls"}},
		"skipped publishes":   {func(s *inspect.Cluster) { s.Nodes[0].Messages.Skipped = 2 }, true, []string{"WARNING stalls"}},
		"skipped long ago":    {func(s *inspect.Cluster) { s.Nodes[0].Messages.Skipped = 2 }, false, nil},
		"protocols":           {func(s *inspect.Cluster) { s.Nodes[0].Self.MinVersion, s.Nodes[0].Self.MaxVersion = 2, 3 }, false, []string{"CRITICAL versions", "CRITICAL versions"}},
		"releases":            {func(s *inspect.Cluster) { s.Nodes[0].Process.Library = "v9" }, false, []string{"WARNING versions"}},
		"trouble of its own":  {func(s *inspect.Cluster) { s.Nodes[0].Self.Trouble = []string{"no"} }, false, []string{"WARNING trouble"}},
		"the worst is first":  {func(s *inspect.Cluster) { s.Nodes[0].Self.Trouble = []string{"no"}; s.Nodes[0].Links = nil }, false, []string{"CRITICAL links", "CRITICAL links", "WARNING trouble"}},
		"a node that is away": {func(s *inspect.Cluster) { s.Nodes = s.Nodes[:2]; s.Missing = []inspect.Missing{{ID: "c"}} }, false, []string{"CRITICAL answers"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			before, now := healthy(), healthy()
			now.Time = before.Time
			if !c.once {
				c.wrong(&before)
			}
			c.wrong(&now)
			var got []string
			for _, f := range inspect.Examine(&before, &now) {
				got = append(got, levels[f.Level]+" "+f.What)
			}
			if strings.Join(got, ",") != strings.Join(c.want, ",") {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}
