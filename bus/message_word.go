package bus

import "sync/atomic"

// word is the state of a message, what became of it, and how it came. It is changed by
// package atomic once others know the message.
type word struct{ bits uint32 }

// The bits of a word.
const (
	stateAnswered = 1 << iota // a reply or an error has been given
	stateCanceled             // the requester has given up, or the drain time is over
	stateExpired
	stateDone // the handler has returned
	byGossip

	// Behind the kind: of a request whose answer is deferred.
	stateDeferred = 1 << 10 // by its handler
	stateParked   = 1 << 11 // which has returned; changed under Consumer.mu, as is
	stateReleased = 1 << 12 // that the message is settled since
	stateFinal    = 1 << 13 // whose answer has been given, and is not to be tried again
	stateSettled  = 1 << 14 // and whose answering call has no more use for it

	stateEnded = stateCanceled | stateExpired | stateDone

	outcomeAt = 5 // three bits; of the consumer's worker
	kindAt    = 8 // two bits
	codecAt   = 16
	hopsAt    = 24
)

// traits is the word of a new message.
func traits(kind, codec, hops uint8) uint32 {
	return uint32(kind)<<kindAt | uint32(codec)<<codecAt | uint32(hops)<<hopsAt
}

func (w *word) state() uint32  { return atomic.LoadUint32(&w.bits) }
func (w *word) kind() uint8    { return uint8(w.state()>>kindAt) & 3 }
func (w *word) codec() uint8   { return uint8(w.state() >> codecAt) }
func (w *word) hops() uint8    { return uint8(w.state() >> hopsAt) }
func (w *word) outcome() uint8 { return uint8(w.state()>>outcomeAt) & 7 }

// unhandled reports whether the message was over before a handler could begin.
func (w *word) unhandled() bool {
	o := w.outcome()
	return o == outcomeExpired || o == outcomeCanceled
}

// setOutcome says what became of the message, unless that is outcomeHandled; the last word
// counts.
func (w *word) setOutcome(outcome uint32) {
	for {
		old := w.state()
		if atomic.CompareAndSwapUint32(&w.bits, old, old&^(7<<outcomeAt)|outcome<<outcomeAt) {
			return
		}
	}
}

// set sets bits and reports whether none of mask were set before.
func (w *word) set(bits, mask uint32) bool {
	for {
		old := w.state()
		if old&mask != 0 {
			return false
		}
		if atomic.CompareAndSwapUint32(&w.bits, old, old|bits) {
			return true
		}
	}
}
