package bus

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// A request that comes back while the last consumer goes, which could not take it
// anyway, locks nothing up.
func TestTakeBackWhileTheLastConsumerGoes(t *testing.T) {
	c := newCore(config{log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	s := newScope(c)
	cn := &Consumer{node: &c.own, address: "a", holder: holder{&s.turns}, concurrency: 1}
	ended, gone := make(chan struct{}), make(chan struct{})
	times := 100_000
	if testing.Short() {
		times = 20_000
	}
	go func() { // ends with the other one, unless they lock each other up
		defer close(gone)
		for !isDone(ended) {
			c.mu.Lock()
			rt := &route{home: &c.rings.ringOf("a").home, to: cn}
			c.rings.addRoute(rt)
			c.mu.Unlock()
			c.mu.Lock()
			c.rings.dropRoutes([]*route{rt})
			c.rings.tidy(rt.ring())
			c.mu.Unlock()
		}
	}()
	go func() {
		defer close(ended)
		for range times {
			o := outgoing{deadline: c.clock.now() + int64(time.Hour), call: c.calls.get(0)}
			o.head[frame.FKind] = kindRequest
			o.call.turn = turn{&s.holder, &heldTurn{}}
			c.rings.reroute("a", &o, false)
			o.call.withdraw(context.Canceled) // if it waits
		}
	}()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("locked up")
	}
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
