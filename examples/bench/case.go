package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// benchCase is something that is measured of several systems.
type benchCase struct {
	name    string
	group   string // cases of a group take turns within a round
	what    string // for the table
	systems []string

	receivers int  // processes beside the sender's; 0: all in one
	tls       bool // between processes
	fresh     bool // each run has new processes
	bare      bool // without the sender, which the run starts

	size    int
	callers int
	bound   string // of each request: see RequestArgs

	slices int           // a round is split into so many turns; 0 is 1
	takes  time.Duration // what a run takes that needs as long as it needs; 0: what it is given

	// prepare readies new processes; nil does nothing.
	prepare func(ctx context.Context, f *fleet, c *benchCase) error

	// run measures for about d.
	run func(ctx context.Context, f *fleet, c *benchCase, d time.Duration) (sample, error)
}

func (c *benchCase) shape(system string, k *Keys) shape {
	s := shape{system: system, receivers: c.receivers}
	if c.tls {
		s.keys = k
	}
	return s
}

var (
	all       = []string{runrigSystem, natsSystem, floorSystem}
	notFloor  = []string{runrigSystem, natsSystem}
	onlyOurs  = []string{runrigSystem}
	sizeNames = map[int]string{16: "16B", 128: "128B", 1 << 10: "1KiB", 64 << 10: "64KiB", 1 << 20: "1MiB"}
)

// cases returns all cases in the order in which they run.
func cases(scale scale) []*benchCase {
	var cs []*benchCase
	for _, size := range []int{16, 128, 1 << 10, 64 << 10, 1 << 20} {
		cs = append(cs, sendCase(size))
	}
	secret := sendCase(128)
	secret.name, secret.what, secret.tls = "send/128B/tls", "one way, 128 B, TLS", true
	cs = append(cs, secret, requestCase(1, ""), requestCase(64, ""), requestCase(64, byContext), requestCase(64, byOption), requestCase(64, "tls"),
		requestCase(256, ""), requestCase(256, byContext), requestCase(256, byOption))
	cs = append(cs, publishCase(), localSendCase(), localRequestCase())
	cs = append(cs, mixedCases()...)
	return append(cs, idleCase(scale.consumers), startCase(), nodesCase(scale.nodes))
}

func sendCase(size int) *benchCase {
	name := "send/" + sizeNames[size]
	return &benchCase{
		name: name, group: name, what: "one way, " + sizeNames[size],
		systems: all, receivers: 1, size: size, prepare: prepareCount, run: runSend,
	}
}

func requestCase(callers int, variant string) *benchCase {
	name := fmt.Sprintf("request/%d", callers)
	c := &benchCase{
		name: name, group: name, what: fmt.Sprintf("requests, 128 B, %d callers", callers),
		systems: all, receivers: 1, size: 128, callers: callers, prepare: prepareEcho, run: runRequest,
	}
	switch variant {
	case byContext:
		c.what += ", each with a context.WithTimeout"
		c.systems, c.bound = notFloor, variant
	case byOption:
		c.what += ", each with a bus.Within"
		c.systems, c.bound = onlyOurs, variant
	case "tls":
		c.what += ", TLS"
		c.tls = true
	default:
		return c
	}
	c.name += "/" + variant
	return c
}

func publishCase() *benchCase {
	return &benchCase{
		name: "publish/128B", group: "publish/128B", what: "publish to consumers in 2 other processes, 128 B (deliveries)",
		systems: all, receivers: 2, size: 128, prepare: prepareCount, run: runPublish,
	}
}

func localSendCase() *benchCase {
	return &benchCase{
		name: "local/send", group: "local/send", what: "one way within a process, 128 B (floor: a buffered channel)",
		systems: all, size: 128, prepare: prepareCount, run: runSend,
	}
}

func localRequestCase() *benchCase {
	return &benchCase{
		name: "local/request", group: "local/request", what: "requests within a process, 128 B, 1 caller (floor: channels)",
		systems: all, size: 128, callers: 1, prepare: prepareEcho, run: runRequest,
	}
}

// mixedCases are the same requests with and without a stream of large bodies
// beside them.
func mixedCases() []*benchCase {
	alone := &benchCase{
		name: "mixed/alone", group: "mixed", what: "requests, 128 B, 4 callers",
		systems: all, receivers: 1, size: 128, callers: 4, slices: 3, prepare: prepareMixed, run: runRequest,
	}
	bulk := *alone
	bulk.name, bulk.what, bulk.run = "mixed/bulk", "the same beside a stream of 1 MiB bodies", runMixed
	return []*benchCase{alone, &bulk}
}

// selectCases returns the cases that the patterns name, in their usual order.
func selectCases(cs []*benchCase, patterns []string) ([]*benchCase, error) {
	if len(patterns) == 0 {
		return cs, nil
	}
	wanted := make(map[*benchCase]bool)
	for _, p := range patterns {
		some, err := matching(cs, p)
		if err != nil {
			return nil, err
		}
		for _, c := range some {
			wanted[c] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(cs), func(c *benchCase) bool { return !wanted[c] }), nil
}

// matching returns the case of that name, or those whose names match in the
// syntax of path.Match or begin with it: "send" is all ways of sending.
func matching(cs []*benchCase, pattern string) (some []*benchCase, err error) {
	for _, c := range cs {
		if c.name == pattern {
			return []*benchCase{c}, nil
		}
		ok, err := path.Match(pattern, c.name)
		if err != nil {
			return nil, fmt.Errorf("-cases: %q: %w", pattern, err)
		}
		if ok || strings.HasPrefix(c.name, pattern+"/") {
			some = append(some, c)
		}
	}
	if len(some) == 0 {
		return nil, fmt.Errorf("-cases: no case matches %q", pattern)
	}
	return some, nil
}
