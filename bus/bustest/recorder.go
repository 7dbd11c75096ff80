package bustest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// patience is how long the waiting functions of this package wait.
const patience = 10 * time.Second

// Recorder is a handler that keeps the messages that come to it, so that a test
// can wait for them without sleeping. Its methods may be called concurrently, and
// it may handle for any number of consumers.
type Recorder struct {
	tb testing.TB

	mu   sync.Mutex
	msgs []*bus.Message
	more chan struct{} // closed when one comes; nil: nobody waits
}

// NewRecorder returns a recorder without messages.
func NewRecorder(tb testing.TB) *Recorder { return &Recorder{tb: tb} }

// Handle keeps the message. A request is answered with an empty body.
func (r *Recorder) Handle(_ context.Context, m *bus.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.msgs = append(r.msgs, m)
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
	return nil
}

// Before returns a handler that has the recorder keep a message and then h handle
// it, which answers it.
func (r *Recorder) Before(h bus.Handler) bus.Handler {
	return bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		_ = r.Handle(ctx, m)
		return h.Handle(ctx, m)
	})
}

// Messages returns what has come so far, in that order.
func (r *Recorder) Messages() []*bus.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.msgs)
}

// Await waits until n messages have come in all and returns these, in the order
// in which they came. If they have not within 10 s it ends the test and says
// what has; so it is to be called by the test's own goroutine.
func (r *Recorder) Await(n int) []*bus.Message {
	r.tb.Helper()
	t := time.NewTimer(patience)
	defer t.Stop()
	for {
		r.mu.Lock()
		if len(r.msgs) >= n {
			defer r.mu.Unlock()
			return slices.Clone(r.msgs[:n])
		}
		if r.more == nil {
			r.more = make(chan struct{})
		}
		more := r.more
		r.mu.Unlock()
		select {
		case <-more:
		case <-t.C:
			r.tb.Fatalf("bustest: %d of %d messages came within %v%s", len(r.Messages()), n, patience, r.text())
		}
	}
}

// text describes the last messages.
func (r *Recorder) text() string {
	msgs := r.Messages()
	var b strings.Builder
	for _, m := range msgs[max(0, len(msgs)-5):] {
		fmt.Fprintf(&b, "\n\t%s %q", m.Address(), m.Body[:min(len(m.Body), 100)])
	}
	return b.String()
}

// Bodies decodes the bodies of messages, as [bus.Message.Decode] does. The
// first one that T cannot take ends the test.
func Bodies[T any](tb testing.TB, ms []*bus.Message) []T {
	tb.Helper()
	bodies := make([]T, len(ms))
	for i, m := range ms {
		if err := m.Decode(&bodies[i]); err != nil {
			tb.Fatalf("bustest: body of message %d, to %q: %v", i, m.Address(), err)
		}
	}
	return bodies
}
