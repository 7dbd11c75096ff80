package bus

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// members is the other nodes of the cluster: those with a link, and those that gossip says
// are alive.
type members struct {
	*services
	mu       *sync.Mutex // core.mu, which guards what is below
	links    map[*link]struct{}
	expected map[uint64]*expectation // by boot
	linked   signal                  // links, expectations or consumers have changed
}

func (m *members) init(s *services, mu *sync.Mutex) {
	m.services, m.mu = s, mu
	m.links, m.expected = map[*link]struct{}{}, map[uint64]*expectation{}
}

// nameOf returns the name of the node with that boot, as far as it is known.
func (m *members) nameOf(boot uint64) string {
	if boot == m.self.boot.Load() {
		return m.self.name()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for l := range m.links {
		if l.peer.Boot == boot {
			return l.peer.Name
		}
	}
	if e := m.expected[boot]; e != nil {
		return e.peer.Name
	}
	return fmt.Sprintf("%016x", boot)
}

// peers returns the nodes that are linked and have told all their consumers.
func (m *members) peers() []Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ps []Peer
	for l := range m.links {
		if l.isUp() {
			ps = append(ps, l.peer)
		}
	}
	slices.SortFunc(ps, func(a, b Peer) int { return strings.Compare(a.String(), b.String()) })
	return ps
}

// expectation is a member that is alive.
type expectation struct {
	peer  Peer
	until int64 // how long messages wait for its first link
}

// linkPatience is how long a message without a consumer waits for the first
// link to a member.
const linkPatience = 2 * time.Second

// expect says that a member is alive, until forget is called.
func (m *members) expect(peer Peer) (forget func()) {
	e := &expectation{peer, m.clock.now() + int64(linkPatience)}
	m.mu.Lock()
	defer m.mu.Unlock()
	for l := range m.links {
		if l.peer.Boot == peer.Boot && l.isUp() {
			e.until = 0
		}
	}
	m.expected[peer.Boot] = e
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.expected[peer.Boot] == e {
			delete(m.expected, peer.Boot)
			m.linked.fire()
		}
	}
}

// unlinked names the members that are alive but not linked.
func (m *members) unlinked() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	linked := map[uint64]bool{}
	for l := range m.links {
		linked[l.peer.Boot] = true
	}
	var names []string
	for boot, e := range m.expected {
		if !linked[boot] {
			names = append(names, e.peer.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// linkComesUntil returns until when the first link to a member may come up.
func (m *members) linkComesUntil() (until int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.expected {
		until = max(until, e.until)
	}
	return until
}

// noConsumer is the error for an address without a consumer.
func (m *members) noConsumer(address string) error {
	if names := m.unlinked(); names != "" {
		return fmt.Errorf("%w of %q (alive, but not linked: %s)", ErrNoConsumer, address, names)
	}
	return fmt.Errorf("%w of %q", ErrNoConsumer, address)
}
