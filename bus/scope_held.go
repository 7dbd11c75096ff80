package bus

import (
	"context"
	"sync/atomic"
)

// holder is a consumer that handles one message at a time, or a scope: what can hold a
// turn. Two holders are the same if they are at the same address in memory.
type holder struct {
	scope *turns // the scope whose turn the consumer takes; nil: the consumer takes none, or the holder is a scope
}

// turn is a turn that the context of a call holds, of a consumer or of a scope; the
// zero turn is none. Turns can be compared. A turn may be over at any time.
type turn struct {
	holder *holder
	of     interface{ isOver() bool } // the message that the consumer handles, or the Do
}

// heldTurn is the turn of a scope that a Do holds.
type heldTurn struct {
	holder *holder
	outer  context.Context // of the Do's caller, which may hold another turn meanwhile
	over   atomic.Bool
}

func (h *heldTurn) isOver() bool { return h.over.Load() }

// isOver reports whether the turn is over that a consumer has for the message.
func (w *word) isOver() bool { return w.state()&(stateDone|stateParked) != 0 }

// turnKey is the key under which a context has its turn: a *heldTurn, or the *Message
// whose handler has the context.
type turnKey struct{}

// turnOf returns the turn that a context holds.
func turnOf(ctx context.Context) turn {
	switch v := ctx.Value(turnKey{}).(type) {
	case *heldTurn:
		if v.isOver() {
			return turnOf(v.outer)
		}
		return turn{v.holder, v}
	case *Message:
		if h := v.in.to.holds(); h != nil {
			return turn{h, v}
		}
	}
	return turn{}
}

// now returns the turn if it is not over; else, if a Do held it, the turn that the caller of
// the Do holds.
func (t turn) now() turn {
	if t.holder == nil || !t.of.isOver() {
		return t
	}
	return t.outer()
}

// outer returns the turn that the caller of the Do holds.
func (t turn) outer() turn {
	if held, ok := t.of.(*heldTurn); ok {
		return turnOf(held.outer)
	}
	return turn{}
}

// includes reports whether the turn is the scope's, or one that was taken within the
// scope's.
func (t turn) includes(scope *turns) bool {
	t = t.now()
	switch {
	case t.holder == nil:
		return false
	case t.holder == &scope.holder || t.holder.scope == scope:
		return true
	}
	return t.outer().includes(scope)
}

// blocks reports whether h cannot have its turn before this one ends; nil is a
// consumer that needs none.
func (t turn) blocks(h *holder) bool {
	t = t.now()
	switch {
	case h == nil || t.holder == nil:
		return false
	case h == t.holder || h.scope != nil && t.includes(h.scope):
		return true
	}
	return t.outer().blocks(h)
}
