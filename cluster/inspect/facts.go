package inspect

import (
	"cmp"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/runrig-go/runrig/cluster"
)

// module is this library's.
const module = "github.com/runrig-go/runrig"

// built is what does not change about a process.
var built = sync.OnceValue(func() Process {
	p := Process{PID: os.Getpid(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return p
	}
	p.Program = info.Path
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module {
			p.Library = m.Version
		}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			p.Revision = s.Value
		}
	}
	return p
})

// process reads what the Go runtime knows without stopping it.
func process() Process {
	p := built()
	p.CPUs = runtime.GOMAXPROCS(0)
	samples := []metrics.Sample{
		{Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/total:bytes"}, {Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(samples)
	for k, to := range []*uint64{&p.Goroutines, &p.Heap, &p.Memory, &p.GCs} {
		if samples[k].Value.Kind() == metrics.KindUint64 {
			*to = samples[k].Value.Uint64()
		}
	}
	return p
}

// Release is the version of the library in the process, and of a checkout the revision,
// shortened.
func (p *Process) Release() string {
	if p.Revision != "" && p.Library == "(devel)" {
		return p.Revision[:min(len(p.Revision), 9)]
	}
	return cmp.Or(p.Library, "?")
}

func networkOf(s cluster.Stats) Network {
	return Network{
		Refused: refusals(s.Refused), RefusedBy: refusals(s.RefusedBy),
		Strangers: counted(map[string]uint64{
			"silent": s.Silent, "ended": s.Ended, "timed_out": s.TimedOut, "garbage": s.Garbage,
			"crowded": s.Crowded, "crowded_gossip": s.CrowdedGossip, "crowded_peers": s.CrowdedPeers,
		}),
		AcceptErrors: s.AcceptErrors, Questions: s.Questions, DialErrors: s.DialErrors, DiscoveryErrors: s.DiscoveryErrors,
		BadPackets: s.BadPackets, Packetless: s.Packetless,
		GossipBehind: s.GossipBehind, GossipDropped: s.GossipDropped, GossipLate: s.GossipLate, EventsDropped: s.EventsDropped,
	}
}

func refusals(r cluster.Refusals) map[string]uint64 {
	return counted(map[string]uint64{
		"secret": r.Secret, "cluster": r.Cluster, "version": r.Version,
		"self": r.Self, "stale": r.Stale, "duplicate": r.Duplicate, "leaving": r.Leaving,
	})
}

// counted leaves out what is zero.
func counted(m map[string]uint64) map[string]uint64 {
	for k, n := range m {
		if n == 0 {
			delete(m, k)
		}
	}
	return m
}

// text is an error's, "" for nil.
func text(err error) string {
	if err == nil {
		return ""
	}
	return shorten(err.Error(), maxText)
}

// lines are those of an error that joins several.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(text(err), "\n")
}

// shorten returns at most n bytes of valid text, with a mark where it cuts.
func shorten(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}
