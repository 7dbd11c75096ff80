package bustest

import (
	"bytes"
	"sync"
	"time"
)

// A lane is one direction of a pipe. Its methods are called with mu held.
type lane struct {
	mu       *sync.Mutex // the pipe's
	from, to *Conn
	limit    int

	arrived bytes.Buffer // may be read
	flight  []segment    // has not arrived, in order
	flying  int          // bytes in flight
	eof     bool         // from's end of stream has arrived

	stalled bool
	cut     bool
	delay   func() time.Duration // called without mu; see Conn.drawDelay
	drawn   time.Duration        // what it returned last
	timer   *time.Timer          // for the arrival of flight[0]; nil when none is needed
}

type segmentKind int

const (
	data segmentKind = iota
	endOfStream
	reset
)

// A segment is what one write puts on its way.
type segment struct {
	kind segmentKind
	body []byte
	at   time.Time // when it arrives; zero: at once
}

// room is how many bytes may be written now.
func (l *lane) room() int { return l.limit - l.arrived.Len() - l.flying }

// send puts a segment on its way, which takes it at least delay. It does not
// retain body.
func (l *lane) send(kind segmentKind, body []byte, delay time.Duration) {
	l.drawn = delay
	if l.cut {
		return
	}
	var at time.Time
	if delay > 0 {
		at = time.Now().Add(delay)
	}
	if at.IsZero() && len(l.flight) == 0 && !l.stalled {
		l.arrive(segment{kind: kind, body: body})
		return
	}
	l.flight = append(l.flight, segment{kind, bytes.Clone(body), at})
	l.flying += len(body)
	l.deliver()
}

// deliver lets arrive what is due, in order, and sets the timer for the rest.
func (l *lane) deliver() {
	l.stopTimer()
	for len(l.flight) > 0 && !l.stalled {
		s := l.flight[0]
		if wait := time.Until(s.at); !s.at.IsZero() && wait > 0 {
			l.startTimer(wait)
			return
		}
		l.flight[0] = segment{}
		l.flight = l.flight[1:]
		l.flying -= len(s.body)
		l.arrive(s)
	}
}

func (l *lane) startTimer(wait time.Duration) {
	var t *time.Timer
	t = time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.timer == t {
			l.deliver()
		}
	})
	l.timer = t
}

func (l *lane) stopTimer() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// arrive is what the receiving end's kernel would do with a segment.
func (l *lane) arrive(s segment) {
	switch {
	case s.kind == reset:
		l.to.onReset()
	case l.to.closed && s.kind == data:
		answer := l.to.out
		answer.send(reset, nil, answer.drawn)
		l.from.writable.Broadcast()
	case l.to.closed:
	case s.kind == endOfStream:
		l.eof = true
		l.to.readable.Broadcast()
	default:
		l.arrived.Write(s.body)
		l.to.readable.Broadcast()
	}
}

// clear drops all that was sent and not read.
func (l *lane) clear() {
	l.arrived = bytes.Buffer{}
	l.dropFlight()
}

// dropFlight drops all that has not arrived.
func (l *lane) dropFlight() {
	l.stopTimer()
	l.flight, l.flying = nil, 0
	l.from.writable.Broadcast()
}
