package bustest

import (
	"bytes"
	"math"
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
	rate    int                  // bytes a second that leave; 0: at once
	leaves  time.Time            // when the last of what was sent has left
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
// retain body. At a rate what is large arrives little by little.
func (l *lane) send(kind segmentKind, body []byte, delay time.Duration) {
	for n := l.quantum(); len(body) > n; body = body[n:] {
		l.sendOne(kind, body[:n], delay)
	}
	l.sendOne(kind, body, delay)
}

// quantum is how many bytes arrive together.
func (l *lane) quantum() int {
	if l.rate == 0 {
		return math.MaxInt
	}
	return max(packet, l.rate/100)
}

const packet = 1400 // bytes of one, as on a network

func (l *lane) sendOne(kind segmentKind, body []byte, delay time.Duration) {
	l.drawn = delay
	if l.cut {
		return
	}
	var at time.Time
	if delay > 0 || l.rate > 0 {
		at = l.leave(len(body)).Add(max(delay, 0))
	}
	if at.IsZero() && len(l.flight) == 0 && !l.stalled {
		l.arrive(segment{kind: kind, body: body})
		return
	}
	l.flight = append(l.flight, segment{kind, bytes.Clone(body), at})
	l.flying += len(body)
	l.deliver()
}

// leave returns when n bytes that are sent now have left.
func (l *lane) leave(n int) time.Time {
	now := time.Now()
	if l.rate == 0 {
		return now
	}
	if l.leaves.Before(now) {
		l.leaves = now
	}
	l.leaves = l.leaves.Add(time.Duration(int64(n) * int64(time.Second) / int64(l.rate)))
	return l.leaves
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
