package cluster

import (
	"context"
	"strconv"
	"sync"
)

// An Event is a change that this node noticed.
type Event struct {
	Type   EventType
	Member Member // as it is after the change; zero for Refused
	Err    error  // a *RefusedError for Refused, ErrAddress for Conflict, ErrUnreached for Unreached; for Unlinked why, nil if the member left; else nil
}

// EventType says what changed.
type EventType uint8

// The types of events.
const (
	Joined    EventType = iota + 1 // the member is alive; see StatusAlive
	Failed                         // the member does not answer; see StatusFailed
	Left                           // the member is leaving or has left
	Forgotten                      // the member is no longer listed
	Linked                         // messages can be exchanged with the member
	Unlinked                       // no more
	Refused                        // this node or another refused the other; Err says why
	Conflict                       // the member advertises the address of another node, and both live; Err names them
	Unreached                      // others do not reach this node at the address that it advertises
)

// String returns the type in lower case.
func (t EventType) String() string {
	names := [...]string{Joined: "joined", Failed: "failed", Left: "left", Forgotten: "forgotten",
		Linked: "linked", Unlinked: "unlinked", Refused: "refused", Conflict: "conflict", Unreached: "unreached"}
	if t == 0 || int(t) >= len(names) {
		return "event " + strconv.Itoa(int(t))
	}
	return names[t]
}

// maxRefusals bounds the refusals and conflicts that wait for one reader of
// events; more are dropped. Other events are bounded by the number of members.
const maxRefusals = 64

// An eventKey tells events of which the newer replaces the older: a reader that
// is slow misses steps between, never the last.
type eventKey struct {
	boot     uint64
	link     bool
	stranger string
}

// isTrouble reports whether an event is not about the state of a member or link.
func (e Event) isTrouble() bool {
	return e.Type == Refused || e.Type == Conflict || e.Type == Unreached
}

func keyOf(e Event) eventKey {
	if e.isTrouble() {
		return eventKey{stranger: e.Err.Error()}
	}
	return eventKey{boot: e.Member.Boot, link: e.Type == Linked || e.Type == Unlinked}
}

// hub hands events to all who listen.
type hub struct {
	counts *counters
	done   chan struct{} // the node is down
	wg     sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	listeners map[*listener]struct{}
}

func newHub(counts *counters) *hub {
	return &hub{counts: counts, done: make(chan struct{}), listeners: map[*listener]struct{}{}}
}

// A listener is one reader's queue.
type listener struct {
	more chan struct{}

	mu       sync.Mutex
	pending  map[eventKey]Event
	order    []eventKey
	refusals int
}

// add reports false if there was no room.
func (l *listener) add(e Event) bool {
	key := keyOf(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, waits := l.pending[key]; !waits {
		if e.isTrouble() {
			if l.refusals == maxRefusals {
				return false
			}
			l.refusals++
		}
		l.order = append(l.order, key)
	}
	l.pending[key] = e
	select {
	case l.more <- struct{}{}:
	default:
	}
	return true
}

func (l *listener) next() (Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.order) == 0 {
		return Event{}, false
	}
	e := l.pending[l.order[0]]
	delete(l.pending, l.order[0])
	l.order = l.order[1:]
	if e.isTrouble() {
		l.refusals--
	}
	return e, true
}

// publish hands an event to all listeners. It does not block.
func (h *hub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		if !l.add(e) {
			h.counts.eventsDropped.Add(1)
		}
	}
}

// listen begins with the given events, in the order of list.
func (h *hub) listen(ctx context.Context, begin func() []Event) <-chan Event {
	out := make(chan Event)
	l := &listener{more: make(chan struct{}, 1), pending: map[eventKey]Event{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(out)
		return out
	}
	h.listeners[l] = struct{}{}
	for _, e := range begin() {
		l.add(e)
	}
	h.wg.Add(1)
	go h.feed(ctx, l, out) // ends with ctx or the node
	return out
}

func (h *hub) feed(ctx context.Context, l *listener, out chan<- Event) {
	defer h.wg.Done()
	defer close(out)
	defer func() {
		h.mu.Lock()
		delete(h.listeners, l)
		h.mu.Unlock()
	}()
	for {
		e, ok := l.next()
		if !ok {
			select {
			case <-l.more:
				continue
			case <-ctx.Done():
			case <-h.done:
			}
			return
		}
		select {
		case out <- e:
		case <-ctx.Done():
			return
		case <-h.done:
			return
		}
	}
}

// close ends all channels and waits for the goroutines. It is called once.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	close(h.done)
	h.wg.Wait()
}
