package cluster

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Where streams pass and packets do not, gossip works, but slowly: who is dead is
// found late. memberlist knows of it by each probe that was answered over TCP only.
// One of them is a lost packet, or a process that had no time; several say that
// somebody has closed the port for UDP.
const (
	packetlessFor   = time.Minute // one line in so long
	packetlessTold  = 5           // probes of that time without which nothing is told
	packetlessNames = 8           // members that the line names
)

// probes are those that were answered over TCP only, of the last minute.
type probes struct {
	mu    sync.Mutex
	since time.Time
	count int
	names []string // of the members, each once, at most packetlessNames
	told  bool
}

// note takes one that a member answered so. It returns the members and the number
// of probes if that is to be told.
func (p *probes) note(name string) (names []string, count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.since) >= packetlessFor {
		p.since, p.count, p.names, p.told = now, 0, nil, false
	}
	p.count++
	if len(p.names) < packetlessNames && !slices.Contains(p.names, name) {
		p.names = append(p.names, name)
	}
	if p.told || p.count < packetlessTold {
		return nil, 0
	}
	p.told = true
	return slices.Clone(p.names), p.count
}

// packetless takes a line of overTCP.
func (b *logBridge) packetless(line string) {
	_, name, _ := strings.Cut(line, overTCP[0])
	name, _, _ = strings.Cut(name, " ")
	if names, count := b.probes.note(name); count > 0 && !b.ending.Load() {
		b.log.Warn("packets (UDP) of members do not pass, only streams (TCP): who has failed is found late; open the port for UDP in both directions",
			"peers", names, "probes", count)
	}
}
