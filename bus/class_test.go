package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/runrig-go/runrig/bus"
)

// TestClass: each error has the word that says what to do about it.
func TestClass(t *testing.T) {
	t.Parallel()
	eb := bus.New()
	defer eb.Close()
	_, nobody := eb.Request(t.Context(), "nobody", nil)
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""}, {errors.New("x"), "other"}, {nobody, "no_consumer"},
		{fmt.Errorf("x: %w", &bus.ReplyError{Code: bus.CodePanic}), "refused"},
		{fmt.Errorf("%w: %w", bus.ErrBusy, context.DeadlineExceeded), "busy"},
		{bus.ErrLinkLost, "link_lost"}, {bus.ErrTooLarge, "too_large"}, {bus.ErrDeadlock, "deadlock"}, {bus.ErrClosed, "closed"},
		{context.DeadlineExceeded, "timeout"}, {context.Canceled, "canceled"},
	} {
		if got := bus.Class(c.err); got != c.want {
			t.Errorf("%v is %q, want %q", c.err, got, c.want)
		}
	}
}
