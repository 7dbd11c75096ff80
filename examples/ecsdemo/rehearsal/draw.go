package rehearsal

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Colours, as terminals know them.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	plain  = "\x1b[0m"
)

// What else a terminal is told.
const (
	upBy      = "\x1b[%dA" // so many lines
	clearLine = "\x1b[K"   // from here to its end
	clearDown = "\x1b[J"   // from here to the end of the screen
	cutLines  = "\x1b[?7l" // lines that are too long are cut
	wrapLines = "\x1b[?7h"
)

// draw writes the table over the one before.
func (s *screen) draw(t *tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, height := s.Size()
	lines := s.frame(t.counts(), height-1)
	var b strings.Builder
	b.WriteString(cutLines)
	if s.height > 0 {
		fmt.Fprintf(&b, "\r"+upBy, s.height)
	}
	for _, line := range lines {
		b.WriteString(line + clearLine + "\n")
	}
	b.WriteString(clearDown + wrapLines)
	s.height = len(lines)
	_, _ = io.WriteString(s.out, b.String()) // it is the program's own output
}

// frame is what is drawn, of so many lines at most. The caller holds the lock.
func (s *screen) frame(counts map[string]counts, height int) []string {
	lines := []string{
		s.paint(bold, "runrig: rehearsal of an ECS service") + "     " + s.clock(time.Now()) + "     " + s.paint(dim, "Ctrl-C stops"),
		"",
		s.paint(dim, fmt.Sprintf("  %-7s %-15s %6s  %-16s %5s %7s %9s %12s %5s", "task", "address", "pid", "state", "links", "sent", "received", "from others", "lost")),
	}
	tail := s.tail()
	rows := s.shown(height - len(lines) - len(tail) - 6)
	for _, r := range rows {
		lines = append(lines, s.tableRow(r, counts[r.addr]))
	}
	lines = append(lines, "", s.paint(dim, strings.Repeat("─", 2)+" events "+strings.Repeat("─", 75)))
	room := max(1, height-len(lines)-len(tail)-1)
	events := s.events[max(0, len(s.events)-room):]
	for _, e := range events {
		lines = append(lines, s.event(e))
	}
	for range min(room, 8) - len(events) {
		lines = append(lines, "")
	}
	return append(append(lines, ""), tail...)
}

// shown are the rows for which there is room: those of tasks that have ended go
// first, the oldest before the others.
func (s *screen) shown(room int) []*row {
	rows := slices.Clone(s.rows)
	for i := 0; i < len(rows) && len(rows) > max(room, 1); {
		if rows[i].ended() {
			rows = slices.Delete(rows, i, i+1)
		} else {
			i++
		}
	}
	return rows
}

func (r *row) ended() bool {
	return slices.Contains([]state{hasEnded[left], hasEnded[killed], hasEnded[failed]}, r.state)
}

// tail is the last lines: what to try, and how to look.
func (s *screen) tail() []string {
	var lines []string
	if s.page != "" {
		lines = append(lines, s.paint(dim, "see it in a browser:    ")+"  "+s.page)
	}
	lines = append(lines, s.paint(dim, "try in another terminal:")+"  "+s.hint())
	for _, r := range s.rows {
		if r.state == isReady && s.key != "" {
			return append(lines, s.paint(dim, "look:")+" "+look(s.key, r.addr))
		}
	}
	return lines
}

// hint says what may be done to the oldest task.
func (s *screen) hint() string {
	for _, r := range s.rows {
		if r.state == isReady {
			return fmt.Sprintf("kill -9 %d (a crash)    kill %[1]d (it leaves)    kill -STOP %[1]d (it hangs)", r.pid)
		}
	}
	return ""
}

func (s *screen) tableRow(r *row, c counts) string {
	copy(r.lost[:], r.lost[1:])
	r.lost[len(r.lost)-1] = c.lost
	lost := slices.Min(r.lost[:]) // what is only under way is not lost
	state := r.state.text
	if r.state == isStarting || r.state == isLeaving {
		state += fmt.Sprintf(" %.1f s", time.Since(r.since).Seconds())
	}
	links := fmt.Sprint(r.links)
	if r.state != isReady && r.state != isLeaving {
		links = "-"
	}
	colour := green
	if lost > 0 {
		colour = red
	}
	return fmt.Sprintf("  %-7s %-15s %6d  %s %s %5s %7d %9d %12d %s", r.name, r.addr, r.pid,
		s.paint(r.state.colour, r.state.sign), s.paint(r.state.colour, fmt.Sprintf("%-14s", state)),
		links, c.sent, c.received, c.fromOthers, s.paint(colour, fmt.Sprintf("%5d", lost)))
}

func (s *screen) event(h happening) string {
	text := h.text
	if h.task != "" {
		text = h.task + " " + text
	}
	if h.bad {
		text = s.paint(red, text)
	}
	return "  " + s.paint(dim, s.clock(h.at)) + "  " + text
}

// clock is the time since the start, in minutes and seconds.
func (s *screen) clock(now time.Time) string {
	d := now.Sub(s.began)
	return fmt.Sprintf("%02d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

func (s *screen) paint(colour, text string) string {
	if s.Plain {
		return text
	}
	return colour + text + plain
}
