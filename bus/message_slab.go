package bus

import (
	"slices"

	"github.com/runrig-go/runrig/bus/internal/recycle"
)

const (
	runMax    = 31      // messages that are allocated together, in 2 KiB
	smallBody = 1 << 10 // bytes of a body up to which it shares memory with others
)

// slab is memory for messages with small bodies, of which one has little and
// there are many. Who keeps one keeps those beside it, with bodies of up to
// smallBody bytes each; larger ones have memory of their own.
type slab struct {
	messages     *[runMax]Message
	bodies       []byte
	given, begun int // how many of messages, and bytes of bodies, are given away: indices, as moving slices would be work for the collector
}

// message returns a message with the body of o, or with a copy unless it is owned.
func (s *slab) message(o *outgoing, from *recycle.Memory) *Message {
	b := o.body
	if len(b) > smallBody {
		return newMessage(b, o.owned)
	}
	if s.given == runMax || s.messages == nil {
		s.messages, s.given = new([runMax]Message), 0
	}
	m := &s.messages[s.given]
	s.given++
	if o.owned || len(b) == 0 {
		m.setBody(b)
		return m
	}
	if s.begun+len(b) > len(s.bodies) {
		s.bodies, s.begun = from.Get(recycle.BlockSize), 0
	}
	to := s.bodies[s.begun:]
	m.setBody(to[:copy(to, b)])
	s.begun += len(b)
	return m
}

// withBody is a message and its small body in one piece of memory.
type withBody struct {
	Message
	body [128]byte
}

// newMessage returns a message of its own whose body is a copy, or b itself if
// it is owned.
func newMessage(b []byte, owned bool) *Message {
	if !owned && 0 < len(b) && len(b) <= len(withBody{}.body) {
		w := new(withBody)
		w.setBody(w.body[:copy(w.body[:], b)])
		return &w.Message
	}
	if !owned {
		b = slices.Clone(b)
	}
	m := new(Message)
	m.setBody(b)
	return m
}
