package bus

import (
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Event is something that a program may want to know of the life of its bus; see
// [WithEvents]. It is one of [PeerUp], [PeerDown], [ConsumerOpened],
// [ConsumerClosed], [ConsumerLags], [KeysMoved], [DeadLetter], [MessagesLost] and
// [EventsMissed]; there may be more in later versions.
//
// Events of this package tell of links: to whom messages can be sent. Those of a
// cluster.Node tell of members: who is known by gossip to be there.
type Event interface{ event() }

// PeerUp says that a node is linked and has told all its consumers:
// [EventBus.Peers] has it. Messages from it may have been handled before.
type PeerUp struct{ Peer Peer }

// PeerDown says that the link to a node has ended of which [PeerUp] has told.
// Nothing is known of its consumers any more, and requests that were under way
// there have failed. Err is nil if the node has said goodbye, matches [ErrClosed]
// if this one has, and else says why the link broke.
type PeerDown struct {
	Peer Peer
	Err  error
}

// ConsumerOpened says that a consumer of this node is registered and messages may
// come to it: at Consume, or at the end of the [EventBus.Do] around it. Other
// nodes may not know it yet; see [Consumer.Known].
type ConsumerOpened struct{ Address string }

// ConsumerClosed says that a consumer of this node is closed, by itself or with
// its bus, and that its handlers have returned, as [Consumer.Done] does.
type ConsumerClosed struct{ Address string }

// ConsumerLags says that a publish has found no room at a consumer in time: it
// and further ones are skipped there until half of its window is free. It is told
// once for each time. Peer is the consumer's node, zero for this one. It also says
// that messages expire at this node before a handler of the address begins: once,
// until none has for 10 s.
type ConsumerLags struct {
	Address string
	Peer    Peer
}

// KeysMoved says that keys may have come to a consumer of this node, or gone from it, as a
// consumer of the address, on any node, came or went, or this node has become part of a
// cluster. Epoch is the one that began: see [Message.Epoch]. It is told of addresses at which
// a consumer of this node has got messages by key ([ByKey]).
type KeysMoved struct {
	Address string
	Epoch   uint64
}

// DeadLetter is a message that this node sent, or was sent back by a consumer
// that closed, and that could not be placed with any by its deadline.
type DeadLetter struct {
	Address string
	Header  Header
	Body    []byte // as encoded
	Request bool   // whether it was a request, whose caller has got the reason as its error
	Reason  error
}

// MessagesLost says that sends or publishes were lost, and why: what a caller is not
// told by an error, as it has gone on. Count is how many were to the address, "" for
// the rest where there are very many addresses, since the last event of that loss;
// there is one a second at most. [Stats] counts all of them.
type MessagesLost struct {
	Address string
	Loss    Loss
	Count   int
}

// EventsMissed stands for so many events that happened at this point and are not
// told, as too many waited to be.
type EventsMissed struct{ Count int }

func (PeerUp) event()         {}
func (PeerDown) event()       {}
func (ConsumerOpened) event() {}
func (ConsumerClosed) event() {}
func (ConsumerLags) event()   {}
func (KeysMoved) event()      {}
func (DeadLetter) event()     {}
func (MessagesLost) event()   {}
func (EventsMissed) event()   {}

// Bounds of what waits to be told.
const (
	maxEvents      = 4096
	maxEventBodies = 4 << 20 // bytes of dead letters, with their headers
	eventsLinger   = time.Second
)

// events tells a program's functions what happens, in that order, one event at a
// time. Its lock is the last in the order of locks, so that whoever holds another
// one can note an event, which fixes its place.
type events struct {
	tell []func(Event) // none: nobody wants to know
	log  *slog.Logger

	// Of the goroutine that tells.
	now  Event // that is being told
	told int   // to so many of the functions

	mu     sync.Mutex
	queue  []Event
	bodies int           // bytes of dead letters in queue
	idle   chan struct{} // closed when nothing is left to be told; nil: nothing is
}

// wanted reports whether anybody wants to know.
func (e *events) wanted() bool { return len(e.tell) > 0 }

// note has an event told. It waits for nothing. The goroutine that tells ends
// when nothing is left; closing the bus waits for it.
func (e *events) note(ev Event) {
	if !e.wanted() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addLocked(ev)
	if e.idle == nil {
		e.idle = make(chan struct{})
		go e.run()
	}
}

// addLocked queues an event, or counts it where there is no room.
func (e *events) addLocked(ev Event) {
	n := len(e.queue)
	size := eventSize(ev)
	full := n >= maxEvents || n > 0 && size > 0 && e.bodies+size > maxEventBodies
	if missed, ok := last(e.queue).(EventsMissed); ok && full {
		e.queue[n-1] = EventsMissed{missed.Count + 1}
		return
	}
	if full {
		ev = EventsMissed{1}
	} else {
		e.bodies += size
	}
	e.queue = append(e.queue, ev)
}

// eventSize is the bytes that an event holds of a message.
func eventSize(ev Event) int {
	letter, _ := ev.(DeadLetter)
	return int(cost(len(letter.Body), letter.Header)) - messageCost
}

func last(evs []Event) Event {
	if len(evs) == 0 {
		return nil
	}
	return evs[len(evs)-1]
}

// run tells what is queued.
func (e *events) run() {
	ended := false
	defer func() {
		if !ended { // a function ended its goroutine: another one goes on
			go e.run() // as note has started this one
		}
	}()
	for f := e.next(); f != nil; f = e.next() {
		e.call(f)
	}
	ended = true
}

// next returns the function that is to be called with now, nil when all is told.
func (e *events) next() func(Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.now == nil || e.told == len(e.tell) {
		if len(e.queue) == 0 {
			close(e.idle)
			e.queue, e.idle, e.now = nil, nil, nil
			return nil
		}
		e.now, e.told = e.queue[0], 0
		e.queue[0] = nil
		e.queue = e.queue[1:]
		e.bodies -= eventSize(e.now)
	}
	e.told++
	return e.tell[e.told-1]
}

// call calls a function with the event that is being told. A panic does not end
// the process.
func (e *events) call(f func(Event)) {
	returned := false
	defer func() {
		if returned {
			return
		}
		var err any = "runtime.Goexit was called"
		if p := recover(); p != nil {
			err = p
		}
		e.log.Error("event function panicked", "err", err, "stack", string(debug.Stack()))
	}()
	f(e.now)
	returned = true
}

// await waits until nothing is left to be told, but not for long.
func (e *events) await() {
	e.mu.Lock()
	idle := e.idle
	e.mu.Unlock()
	if idle == nil {
		return
	}
	t := time.NewTimer(eventsLinger)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
	}
}
