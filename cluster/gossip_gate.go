package cluster

import (
	"bufio"
	"bytes"
	"hash/maphash"
	"sync"
)

// serf keeps the events of the last few Lamport times, to know them again and to tell
// others: all of a time, however many come. In good order that is little, as who sends
// an event goes on to the next time.
const (
	eventTimes  = 64
	maxEvents   = 512 << 10              // bytes of all that are kept
	timesEvents = maxEvents / eventTimes // bytes that each time may have in any case
	eventCost   = 64                     // what keeping one takes besides
	serfIgnored = 0xff                   // no type of serf's messages
)

// An eventGate lets no more events through than are to be kept. It knows which serf
// has, so that repeats pass: serf drops them.
type eventGate struct {
	seed    maphash.Seed
	dropped func() // one was not let through; must not block

	mu    sync.Mutex
	bytes int
	times [eventTimes]eventTime
}

type eventTime struct {
	time  uint64
	bytes int
	seen  map[uint64]struct{} // hashes
}

func newEventGate() *eventGate {
	return &eventGate{seed: maphash.MakeSeed(), dropped: func() {}}
}

// admit reports whether an event of that time may be kept.
func (g *eventGate) admit(time uint64, event []byte) bool {
	hash, cost := maphash.Bytes(g.seed, event), len(event)+eventCost
	g.mu.Lock()
	defer g.mu.Unlock()
	t := &g.times[time%eventTimes]
	if t.seen != nil && time < t.time { // too old for serf, which keeps the later time's
		g.dropped()
		return false
	}
	if t.time != time || t.seen == nil {
		g.bytes -= t.bytes
		*t = eventTime{time: time, seen: map[uint64]struct{}{}}
	}
	if _, known := t.seen[hash]; known {
		return true
	}
	if g.bytes+cost > maxEvents && t.bytes+cost > timesEvents {
		g.dropped()
		return false
	}
	t.seen[hash] = struct{}{}
	t.bytes += cost
	g.bytes += cost
	return true
}

// screen looks at an event among serf's messages, and makes it one that serf ignores
// if it is one too many.
func (g *eventGate) screen(message []byte) error {
	s := &said{from: bufio.NewReaderSize(bytes.NewReader(message[1:]), 64), lease: new(lease)}
	if time, event := s.event(); s.err == nil && !g.admit(time, event) {
		message[0] = serfIgnored
	}
	return s.err
}

// event reads an event: its time, where it has one, and its name and payload as they
// are encoded, by which serf knows it again.
func (s *said) event() (time uint64, event []byte) {
	s.fields(func(key string, _ int) {
		begin := len(s.all)
		if key == "LTime" {
			time = s.number()
			return
		}
		if s.value(maxDepth); key == "Name" || key == "Payload" {
			event = append(event, s.all[begin:]...)
		}
	})
	return time, event
}

// state reads serf's state. Of the events in it those of a time with one too many are
// renamed, so that serf does not find them.
func (s *said) state(g *eventGate) {
	s.fields(func(key string, _ int) {
		if key == "Events" {
			s.each(func() { s.eventsOfTime(g) })
		} else {
			s.value(maxDepth)
		}
	})
}

// eventsOfTime reads nothing, or the events of one time.
func (s *said) eventsOfTime(g *eventGate) {
	if s.pay(itemCost); s.peek() == 0xc0 {
		s.byte()
		return
	}
	var time uint64
	var events [][]byte
	var at int // the name of the list
	s.fields(func(key string, name int) {
		switch {
		case key == "LTime":
			time = s.number()
		case key == "Events" && at != 0:
			s.fail("two lists of events of one time")
		case key == "Events":
			at = name
			s.each(func() {
				_, event := s.event()
				events = append(events, event)
			})
		default:
			s.value(maxDepth)
		}
	})
	for _, event := range events {
		if s.err == nil && !g.admit(time, event) {
			copy(s.all[at:], "Excess")
			return
		}
	}
}
