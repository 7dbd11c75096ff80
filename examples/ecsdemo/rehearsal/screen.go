package rehearsal

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Screen is a terminal that shows the rehearsal as a table that changes in place.
type Screen struct {
	Size  func() (columns, lines int) // asked before each drawing
	Plain bool                        // without colour
}

const drawEvery = 250 * time.Millisecond

// screen draws the rehearsal until it is closed. What is drawn belongs to the
// goroutine of Run; lines come from the tasks'.
type screen struct {
	Screen
	out   io.Writer
	began time.Time

	mu     sync.Mutex
	rows   []*row
	events []happening
	height int    // of what was drawn last
	key    string // file of the secret, for who looks from outside; "" while not all are up
	page   string // for browsers, likewise
}

// invite says how to look at the tasks from outside.
func (s *screen) invite(key, page string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.page = key, page
}

// row is a task.
type row struct {
	name, addr, node string // node is where its node is, host:port
	pid              int
	state            state
	since            time.Time // the state
	started          time.Time
	links            int
	lost             [4]uint64 // what the last drawings saw
}

// state is what a task is up to.
type state struct{ sign, text, colour string }

var (
	isStarting = state{"◐", "starting", yellow}
	isReady    = state{"●", "ready", green}
	isLeaving  = state{"◌", "leaving", yellow}
	hasEnded   = map[ending]state{left: {"○", "left", dim}, killed: {"✗", "killed", red}, failed: {"✗", "failed", red}}
)

// happening is an event of a task, or of none.
type happening struct {
	at   time.Time
	task string
	text string
	list bool // others of the same kind are added to it
	bad  bool
}

func newScreen(s Screen, out io.Writer) *screen {
	return &screen{Screen: s, out: out, began: time.Now()}
}

// started adds a task.
func (s *screen) started(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.rows = append(s.rows, &row{
		name: t.String(), addr: t.place.name(), node: t.place.nodeAddr(), pid: t.cmd.Process.Pid, state: isStarting, since: now, started: now,
	})
}

// passed notes what a task says of itself in a health check.
func (s *screen) passed(t *task, h health) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.row(t)
	r.links = h.Links
	switch {
	case t.leaving:
	case r.state == isStarting:
		s.note(happening{task: r.name, text: fmt.Sprintf("is ready, %.1f s after its start", time.Since(r.started).Seconds())})
		fallthrough
	default:
		r.become(isReady)
	}
}

// becomes notes another state of a task.
func (s *screen) becomes(t *task, state state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.row(t).become(state)
}

func (r *row) become(s state) {
	if r.state != s {
		r.state, r.since = s, time.Now()
	}
}

// row is that of the task.
func (s *screen) row(t *task) *row {
	for _, r := range s.rows {
		if r.name == t.String() {
			return r
		}
	}
	return new(row)
}

// line takes a line of a task's log: links that come up, and what is wrong.
func (s *screen) line(task, text string) {
	f := fields(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case f["msg"] == "link is up":
		s.note(happening{task: task, text: "linked with " + s.taskAt(f["address"]), list: true})
	case f["msg"] == "counting":
		s.note(happening{task: task, text: "counts the health checks of all, with fence " + f["fence"]})
	case f["level"] == "WARN", f["level"] == "ERROR", f["msg"] == "":
		s.note(happening{task: task, text: s.shorten(text, f), bad: true})
	}
}

// shorten says what a line of a log says, with the names of tasks.
func (s *screen) shorten(text string, f map[string]string) string {
	if f["msg"] == "" {
		return text
	}
	said := f["msg"]
	if addr := f["address"]; addr != "" {
		said += ": " + s.taskAt(addr)
	}
	if err := f["err"]; err != "" {
		said += " (" + strings.ReplaceAll(err, "\n", "; ") + ")"
	}
	return said
}

// taskAt names the task whose node is there. The caller holds the lock.
func (s *screen) taskAt(addr string) string {
	for _, r := range s.rows {
		if r.node == addr {
			return r.name
		}
	}
	return addr
}

// say adds an event of the rehearsal itself.
func (s *screen) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(happening{text: text})
}

const keptEvents = 100

// note adds an event. The caller holds the lock.
func (s *screen) note(h happening) {
	h.at = time.Now()
	if h.list && s.extend(h) {
		return
	}
	s.events = append(s.events, h)
	if len(s.events) > keptEvents {
		s.events = s.events[1:]
	}
}

// extend adds what happened to an event of the same kind, if there is a fresh one.
func (s *screen) extend(h happening) bool {
	kind, name, _ := strings.Cut(h.text, " with ")
	for i := len(s.events) - 1; i >= 0 && h.at.Sub(s.events[i].at) < time.Second; i-- {
		if e := &s.events[i]; e.list && e.task == h.task && strings.HasPrefix(e.text, kind+" with ") {
			e.text += ", " + name
			return true
		}
	}
	return false
}

// run draws until done is closed, and then once more.
func (s *screen) run(t *tally, done <-chan struct{}) {
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	for {
		s.draw(t)
		select {
		case <-tick.C:
		case <-done:
			s.draw(t)
			return
		}
	}
}
