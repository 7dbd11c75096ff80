package bus

import (
	"errors"
	"fmt"
)

// Errors that a caller can act on; test for them with [errors.Is]. The text of
// what is returned names the address, and the node where there is one. The
// package documentation has them as a table, with what to do.
var (
	// ErrNoConsumer says that no consumer of the address is known on any
	// linked node, and so that nothing was handled. The text names members that
	// are alive but not linked.
	ErrNoConsumer = errors.New("bus: no consumer")

	// ErrLinkLost says that the link to the consumer's node ended while a
	// request was under way: its handler may or may not have run. Ask again
	// where that does no harm, or have [Idempotent] do it.
	ErrLinkLost = errors.New("bus: link lost")

	// ErrBusy says that no consumer of the address had room before the
	// deadline, or that the gossip lane's budget is spent; nothing was handled.
	// Where the context ended the wait, the error matches the context's error
	// too.
	ErrBusy = errors.New("bus: busy")

	// ErrClosed says that the bus, or the consumer, is closed or closing. A
	// request that was under way may have been handled, what else has the error
	// was not.
	ErrClosed = errors.New("bus: closed")

	// ErrTooLarge says that an address, headers or a body are over the limit,
	// of this node or, for a body, of the consumer's. Nothing was handled.
	ErrTooLarge = errors.New("bus: too large")

	// ErrDeadlock says that only consumers of the caller's own scope could
	// take the message, whose turn the caller holds: it would wait for itself.
	// Ask from outside the turn.
	ErrDeadlock = errors.New("bus: deadlock")
)

// Codes of the errors that the bus itself answers a request with. They are
// negative; a handler's own codes are its own business and should not be.
const (
	CodeFailed = -1 // the handler returned an error that is not a *ReplyError
	CodePanic  = -2 // the handler panicked
	CodeBody   = -3 // the handler's type, or its node's codecs, cannot take the body

	// CodeUnanswered answers a question of [Message.Request] to a requester
	// that has given up or, as [Request] does, cannot answer; and a request
	// whose reply an interceptor has dropped.
	CodeUnanswered = -4

	// CodeBusy answers a request for whose reply the link to its node had no
	// room, and kept too many others already. The handler has run.
	CodeBusy = -5
)

// ReplyError is a consumer's "no": what its handler answered a request with.
// It crosses the wire; nothing that it wraps does. A Message of more than 16 KiB is
// cut, before a character, and ends with a note of its length, also within a node.
//
// A handler returns one to choose the code. Where it wraps one, its own or what a
// request of its own has ended with, the words around it go along, and so do the code and
// the details, if the code is not negative: a negative one tells of the bus at another
// handler, and becomes [CodeFailed], with a text that says which way it came.
type ReplyError struct {
	Code    int
	Message string

	// Details is what a handler gives along with an error, for programs to read:
	// encoded as a body is ([EventBus.Send]), in at most 16 KiB; nil is nothing. It is nil in
	// an error that came: see Decode. Details that are too large, or cannot be encoded, are
	// left out and logged at the handler's node; [Message.Fail] reports an error.
	Details any

	// Address and Node say who answered, in an error that a call has returned. Node is
	// empty on a bus that is not part of a cluster. The text of what a call returns has
	// them already.
	Address, Node string

	came *Message // the details of one that came: it is its body
}

// Decode decodes the details of an error that a call has returned into what v points to, as
// [Message.Decode] does a body. Without details it leaves v as it is, and reports false.
func (e *ReplyError) Decode(v any) (has bool, err error) {
	if e.came == nil || len(e.came.Body) == 0 {
		return false, nil
	}
	if err = unknown(e.came.codec()); err == nil {
		err = e.came.Decode(v)
	}
	if err != nil {
		err = fmt.Errorf("details of an error of %q: %w", e.Address, err)
	}
	return true, err
}

// Error returns the message with its code.
func (e *ReplyError) Error() string {
	return fmt.Sprintf("bus: consumer answered: %s (code %d)", e.Message, e.Code)
}
