package bus

import (
	"context"
	"errors"
)

// classes are the words of [Class], with the errors that they stand for. An error that
// matches several is the first.
var classes = []struct {
	err   error
	class string
}{
	{ErrNoConsumer, "no_consumer"}, {ErrBusy, "busy"}, {ErrLinkLost, "link_lost"}, {ErrTooLarge, "too_large"},
	{ErrDeadlock, "deadlock"}, {ErrClosed, "closed"}, {context.DeadlineExceeded, "timeout"}, {context.Canceled, "canceled"},
}

// Class returns a word for what an error of a call, or of a handler, means, for metrics
// and traces, where its text would be too much: refused for a *[ReplyError]; no_consumer,
// busy, link_lost, too_large, deadlock and closed for the errors of this package;
// timeout and canceled for those of a context; other for the rest; "" for nil.
func Class(err error) string {
	if err == nil {
		return ""
	}
	if errors.As(err, new(*ReplyError)) {
		return "refused"
	}
	for _, c := range classes {
		if errors.Is(err, c.err) {
			return c.class
		}
	}
	return "other"
}
