package cluster

import (
	"context"
	"sync"
)

// An Event is a change that this node noticed: [Joined], [Failed], [Left],
// [Forgotten], [Linked], [Unlinked], [Refused], [Conflict] or [Unreached]; there may
// be more in later versions. Members are as they are after the change.
//
// A function that bus.WithEvents sets is told of links, too, and of each: here who
// reads slowly is told where a link came to. Readers may begin at any time.
type Event interface {
	// key names what an event is about: of two with the same the newer replaces
	// the older, so that a reader that is slow misses steps between, never the last.
	key() eventKey
}

// Joined says that the member is alive; see [StatusAlive].
type Joined struct{ Member Member }

// Failed says that the member does not answer; see [StatusFailed].
type Failed struct{ Member Member }

// Left says that the member is leaving or has left.
type Left struct{ Member Member }

// Forgotten says that the member is no longer listed.
type Forgotten struct{ Member Member }

// Linked says that messages can be exchanged with the member.
type Linked struct{ Member Member }

// Unlinked says that messages can no longer be exchanged with the member. Err says
// why; it is nil if the member left.
type Unlinked struct {
	Member Member
	Err    error
}

// Refused says that this node or another refused the other.
type Refused struct{ Err *RefusedError }

// Conflict says that the member advertises the address of another node, and both
// live. Err names them, and matches [ErrAddress].
type Conflict struct {
	Member Member
	Err    error
}

// Unreached says that others do not reach this node at the address that it
// advertises. Err matches [ErrUnreached].
type Unreached struct{ Err error }

func (e Joined) key() eventKey    { return eventKey{boot: e.Member.Boot} }
func (e Failed) key() eventKey    { return eventKey{boot: e.Member.Boot} }
func (e Left) key() eventKey      { return eventKey{boot: e.Member.Boot} }
func (e Forgotten) key() eventKey { return eventKey{boot: e.Member.Boot} }
func (e Linked) key() eventKey    { return eventKey{boot: e.Member.Boot, link: true} }
func (e Unlinked) key() eventKey  { return eventKey{boot: e.Member.Boot, link: true} }
func (e Refused) key() eventKey   { return eventKey{trouble: e.Err.Error()} }
func (e Conflict) key() eventKey  { return eventKey{trouble: e.Err.Error()} }
func (e Unreached) key() eventKey { return eventKey{trouble: e.Err.Error()} }

// eventKey is the state of a member, of a link, or a trouble.
type eventKey struct {
	boot    uint64
	link    bool
	trouble string
}

// maxTroubles bounds the events of trouble that wait for one reader; more are
// dropped. Other events are bounded by the number of members.
const maxTroubles = 64

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
	troubles int
}

// add reports false if there was no room.
func (l *listener) add(e Event) bool {
	key := e.key()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, waits := l.pending[key]; !waits {
		if key.trouble != "" {
			if l.troubles == maxTroubles {
				return false
			}
			l.troubles++
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
		return nil, false
	}
	key := l.order[0]
	e := l.pending[key]
	delete(l.pending, key)
	l.order = l.order[1:]
	if key.trouble != "" {
		l.troubles--
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
