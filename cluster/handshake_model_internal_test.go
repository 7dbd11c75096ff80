package cluster

import (
	"fmt"
	"testing"

	"github.com/runrig-go/runrig/cluster/internal/wire"
)

// The handshake's decisions, explored: two nodes that dial each other, with dials
// that are given up and connections that break, in every order. Each step calls
// the crossing's own methods. Two properties must hold: from every state a link
// that both hold can be reached, and no link that both hold and that has no
// fault is ever taken down.

const modelConns = 6

type modelConn struct {
	used    bool
	by      int // who dialled
	attempt uint64
	unread  bool // HELLO not read yet
	welcome wire.Verdict
	count   uint64
	open    [2]bool
	broken  bool
}

type modelState struct {
	side     [2]crossing
	attempts [2]uint64
	dial     [2]int // connection + 1
	link     [2]int
	conn     [modelConns]modelConn
	timeouts int
	breaks   int
}

type model struct {
	dials   uint64
	noStale bool // a rule taken out, to see that the model notices
	noTie   bool
	fault   string
}

func (m *model) down(s *modelState, i int) {
	c := &s.conn[s.link[i]-1]
	if s.link[0] == s.link[1] && !c.broken && c.open[0] && c.open[1] {
		m.fault = "a link that both hold is taken down without a fault"
	}
	c.open[i] = false
	s.link[i] = 0
	s.side[i].linked = false
}

func (m *model) accept(s *modelState, a, n int) {
	c := &s.conn[n]
	c.unread = false
	if m.noStale {
		s.side[a].learned = 0
	}
	judge := s.side[a]
	judge.dialling = judge.dialling && !m.noTie
	c.welcome = judge.hello(c.attempt, true)
	s.side[a].learned = judge.learned
	c.count = s.attempts[a]
	if c.welcome != wire.OK {
		c.open[a] = false
		return
	}
	if s.link[a] != 0 {
		m.down(s, a)
	}
	s.link[a], s.side[a].linked = n+1, true
}

func (m *model) settle(s *modelState, d, n int) {
	c := &s.conn[n]
	s.dial[d], s.side[d].dialling = 0, false
	if c.welcome != wire.OK {
		c.open[d] = false
		return
	}
	if s.link[d] != 0 {
		m.down(s, d)
	}
	s.side[d].welcome(c.count)
	s.link[d], s.side[d].linked = n+1, true
}

// next returns all states that one step leads to.
func (m *model) next(s modelState) (list []modelState) {
	step := func(f func(*modelState)) {
		t := s
		f(&t)
		for n := range t.conn {
			if c := &t.conn[n]; !c.open[0] && !c.open[1] && !c.unread {
				*c = modelConn{}
			}
		}
		list = append(list, t)
	}
	for i := range 2 {
		m.dialSteps(s, i, step)
	}
	for n, c := range s.conn {
		m.connSteps(s, n, c, step)
	}
	return list
}

func (m *model) dialSteps(s modelState, i int, step func(func(*modelState))) {
	if s.link[i] == 0 && s.dial[i] == 0 && s.attempts[i] < m.dials {
		for n, c := range s.conn {
			if c.used {
				continue
			}
			step(func(s *modelState) {
				s.attempts[i]++
				s.conn[n] = modelConn{used: true, by: i, attempt: s.attempts[i], unread: true, open: [2]bool{true, true}}
				s.dial[i], s.side[i].dialling = n+1, true
			})
			break
		}
	}
	if s.dial[i] != 0 && s.timeouts > 0 {
		step(func(s *modelState) {
			s.timeouts--
			s.conn[s.dial[i]-1].open[i] = false
			s.dial[i], s.side[i].dialling = 0, false
		})
	}
}

func (m *model) connSteps(s modelState, n int, c modelConn, step func(func(*modelState))) {
	if !c.used {
		return
	}
	d, a := c.by, 1-c.by
	readable := c.welcome != wire.None && s.dial[d] == n+1 && !c.broken
	if c.unread {
		step(func(s *modelState) { m.accept(s, a, n) })
	}
	if readable {
		step(func(s *modelState) { m.settle(s, d, n) })
	}
	for i := range 2 {
		ended := c.open[i] && !c.unread && (c.broken || !c.open[1-i])
		if !ended || i == d && readable || s.link[i] != n+1 && s.dial[i] != n+1 {
			continue
		}
		step(func(s *modelState) {
			if s.link[i] == n+1 {
				m.down(s, i)
			}
			if s.dial[i] == n+1 {
				s.dial[i], s.side[i].dialling = 0, false
			}
			s.conn[n].open[i] = false
		})
	}
	if s.breaks > 0 && !c.broken && (s.link[0] == n+1 || s.link[1] == n+1) {
		step(func(s *modelState) { s.breaks--; s.conn[n].broken = true })
	}
}

// explore searches all states and returns what is wrong, if anything.
func (m *model) explore(timeouts, breaks int) (states int, fault string) {
	start := modelState{timeouts: timeouts, breaks: breaks}
	start.side = [2]crossing{{own: 1, peer: 2}, {own: 2, peer: 1}}
	index := map[modelState]int{start: 0}
	all := []modelState{start}
	var from [][]int // predecessors
	from = append(from, nil)
	for at := 0; at < len(all); at++ {
		for _, s := range m.next(all[at]) {
			if m.fault != "" {
				return len(all), m.fault
			}
			n, seen := index[s]
			if !seen {
				n = len(all)
				index[s] = n
				all = append(all, s)
				from = append(from, nil)
			}
			from[n] = append(from[n], at)
		}
	}
	return len(all), m.unreachable(all, from)
}

// unreachable names a state from which no link that both hold can be reached.
func (m *model) unreachable(all []modelState, from [][]int) string {
	good := make([]bool, len(all))
	var todo []int
	for n, s := range all {
		if s.link[0] != 0 && s.link[0] == s.link[1] && !s.conn[s.link[0]-1].broken {
			good[n] = true
			todo = append(todo, n)
		}
	}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, p := range from[n] {
			if !good[p] {
				good[p] = true
				todo = append(todo, p)
			}
		}
	}
	for n, s := range all {
		// A state in which the model's few dials are used up proves nothing.
		if !good[n] && s.attempts[0] < m.dials && s.attempts[1] < m.dials {
			return fmt.Sprintf("no link can be reached from %+v", s)
		}
	}
	return ""
}

func TestHandshakeModel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dials            uint64
		timeouts, breaks int
	}{{3, 0, 0}, {4, 1, 0}, {4, 1, 1}} {
		states, fault := (&model{dials: c.dials}).explore(c.timeouts, c.breaks)
		t.Logf("%d dials, %d given up, %d breaks: %d states", c.dials, c.timeouts, c.breaks, states)
		if fault != "" {
			t.Errorf("%+v: %s", c, fault)
		}
	}
}

// The model has teeth: without a rule it finds a fault.
func TestHandshakeModelNotices(t *testing.T) {
	t.Parallel()
	for what, m := range map[string]*model{
		"no stale check": {dials: 4, noStale: true},
		"no tie-break":   {dials: 4, noTie: true},
	} {
		if _, fault := m.explore(1, 0); fault == "" {
			t.Errorf("%s: nothing found", what)
		}
	}
}
