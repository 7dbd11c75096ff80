package bustest

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// NewBus returns a bus of the test alone, which logs to the test's output and
// is closed when the test ends. An error of its Close fails the test. Options
// may say otherwise, but for the closing.
func NewBus(tb testing.TB, opts ...bus.Option) *bus.EventBus {
	log := bus.WithLogger(slog.New(slog.NewTextHandler(tb.Output(), nil)))
	eb := bus.New(append([]bus.Option{log}, opts...)...)
	tb.Cleanup(func() {
		if err := eb.Close(); err != nil {
			tb.Errorf("bustest: closing the bus: %v", err)
		}
	})
	return eb
}

// Settle waits until whatever was sent between the buses has been handled, and
// what handlers sent in turn, so that a test can say that nothing more comes.
// All buses that take part are to be given. If something is left after 10 s
// Settle ends the test and says what, as it does for messages at a paused
// consumer; so it is to be called by the test's own goroutine.
func Settle(tb testing.TB, buses ...*bus.EventBus) {
	tb.Helper()
	end := time.Now().Add(patience)
	before, _ := survey(buses)
	for {
		now, left := survey(buses)
		if left == "" && now == before { // nothing was sent while it was looked at
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("bustest: not all is settled after %v:%s", patience, left)
		}
		before = now
		time.Sleep(time.Millisecond) // virtual in a bubble
	}
}

// survey returns how much has happened on buses, and what is under way.
func survey(buses []*bus.EventBus) (events uint64, left string) {
	var b strings.Builder
	for i, eb := range buses {
		for _, a := range eb.Addresses() {
			events += a.Sent + a.Handled + a.Rerouted
			if a.Waiting+a.Unsettled+a.Queued+a.Running > 0 {
				fmt.Fprintf(&b, "\n\tbus %d, %q: %d wait for a consumer, %d are unsettled, %d wait at a consumer (%d paused), %d are handled",
					i, a.Address, a.Waiting, a.Unsettled, a.Queued, a.Paused, a.Running)
			}
		}
	}
	return events, b.String()
}
