package bustest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// maxBroken bounds the broken promises that a [Ledger] tells of; further ones are
// counted only.
const maxBroken = 20

// A Mark tells a message of a test from all others; it is sent as the body, or in
// it. A Sender sends one message after the other, with a Seq that rises.
type Mark struct {
	Sender  string
	Seq     uint64
	Publish bool // the message goes to all consumers
}

// A Record is what a [Ledger] knows. It can be encoded, to be taken into the
// ledger of another process.
type Record struct {
	Handled  map[Mark]int // how often by a handler; not of publishes
	Accepted []Mark       // sends that returned nil, requests that were answered
	Broken   []string     // promises, in words
	More     int          // broken promises that are not told
}

// A Ledger checks what is promised about each message, whatever happens to the
// cluster: it reaches a handler at most once, those of one sender to one address
// reach a consumer in order unless they were sent back, a reply is the request's
// own, and a request ends in time. It also tells which messages were lost. Its
// methods may be called concurrently.
type Ledger struct {
	mu     sync.Mutex
	record Record
	last   map[arrival]uint64
}

// arrival is a stream of messages whose order is promised.
type arrival struct{ sender, address, consumer string }

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{record: Record{Handled: map[Mark]int{}}, last: map[arrival]uint64{}}
}

// Handle notes that a consumer's handler has got a message. Consumers have names
// of their own, in all processes.
func (l *Ledger) Handle(consumer string, k Mark, m *bus.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !k.Publish {
		if l.record.Handled[k]++; l.record.Handled[k] > 1 {
			l.broken("%+v was handled %d times, at last by %s", k, l.record.Handled[k], consumer)
		}
	}
	if m.Rerouted() {
		return
	}
	at := arrival{k.Sender, m.Address(), consumer}
	if last, ok := l.last[at]; ok && last >= k.Seq {
		l.broken("%+v came to %s after number %d", k, consumer, last)
	}
	l.last[at] = max(l.last[at], k.Seq)
}

// Accept notes that a send has returned nil: a handler must get it, unless a link
// breaks, a process is killed or it is a dead letter.
func (l *Ledger) Accept(k Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.record.Accepted = append(l.record.Accepted, k)
}

// Answer notes the reply to a request, which is the mark of the request that the
// handler got.
func (l *Ledger) Answer(k, reply Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k != reply {
		l.broken("%+v was answered with the reply to %+v", k, reply)
	}
	l.record.Accepted = append(l.record.Accepted, k)
}

// End notes that a call with a deadline has ended just now, with err, and may
// have been late by slack.
func (l *Ledger) End(k Mark, deadline time.Time, slack time.Duration, err error) {
	late := time.Since(deadline)
	if late <= slack {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken("%+v ended %v after its deadline: %v", k, late, err)
}

// broken notes a broken promise. The caller holds mu.
func (l *Ledger) broken(format string, args ...any) {
	if len(l.record.Broken) >= maxBroken {
		l.record.More++
		return
	}
	l.record.Broken = append(l.record.Broken, fmt.Sprintf(format, args...))
}

// Take adds what another ledger knows. Messages that both saw handled were
// handled twice.
func (l *Ledger) Take(r Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, n := range r.Handled {
		if had := l.record.Handled[k]; had > 0 {
			l.broken("%+v was handled in two processes", k)
		}
		l.record.Handled[k] += n
	}
	l.record.Accepted = append(l.record.Accepted, r.Accepted...)
	l.record.More += r.More
	for _, text := range r.Broken {
		l.broken("%s", text)
	}
}

// Record returns a copy of what the ledger knows.
func (l *Ledger) Record() Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.record
	r.Handled = make(map[Mark]int, len(l.record.Handled))
	for k, n := range l.record.Handled {
		r.Handled[k] = n
	}
	r.Accepted, r.Broken = slices.Clone(r.Accepted), slices.Clone(r.Broken)
	return r
}

// Broken returns the promises that were broken, in words.
func (l *Ledger) Broken() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := slices.Clone(l.record.Broken)
	if l.record.More > 0 {
		list = append(list, fmt.Sprintf("and %d more", l.record.More))
	}
	return list
}

// Lost returns the messages that were accepted and that no handler got, in order
// of their acceptance.
func (l *Ledger) Lost() (lost []Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.record.Accepted {
		if l.record.Handled[k] == 0 {
			lost = append(lost, k)
		}
	}
	return lost
}
