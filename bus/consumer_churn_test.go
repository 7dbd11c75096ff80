package bus_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/runrig-go/runrig/bus"
)

// Two goroutines register and close consumers of one address, over and over, while
// two others send to it: each message that was taken is handled once, and the sums
// are right in the end, those of the bus and those of the address.
func TestTwoRegisterAndClose(t *testing.T) {
	for name, from := range map[string]int{"alone": 1, "clustered": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := mesh(t, 2)
			here, there := nodes[from], nodes[1]
			consume(t, there.EventBus, "a", nothing).Close() // from now on its node knows the address
			var handled, sent atomic.Int64
			handler := bus.HandlerFunc(func(context.Context, *bus.Message) error { handled.Add(1); return nil })
			rounds := 500
			if testing.Short() {
				rounds = 200
			}
			var churn, senders sync.WaitGroup
			for range 2 {
				churn.Go(func() {
					for i := range rounds {
						c, err := there.Consume("a", handler, bus.WithWindow(1<<10))
						if err != nil {
							t.Error(err)
							return
						}
						for before := handled.Load(); i%10 == 0 && handled.Load() == before; { // let some come
							runtime.Gosched()
						}
						c.Close()
					}
				})
			}
			over := make(chan struct{})
			for range 2 {
				senders.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-over:
							return
						default:
						}
						var err error
						if i%10 == 0 { // which waits for what is before it
							_, err = here.Request(t.Context(), "a", nil)
						} else {
							err = here.Send(t.Context(), "a", nil)
						}
						if err == nil {
							sent.Add(1)
						}
					}
				})
			}
			churn.Wait()
			last := consume(t, there.EventBus, "a", handler) // for those that were sent back at last
			close(over)
			senders.Wait()
			within(t, "all are handled", func() bool { return handled.Load() >= sent.Load() })
			last.Close()
			within(t, "all are settled", func() bool { s := here.Stats(); return s.Sent == s.Settled+s.Bounced })
			s := here.Stats()
			if handled.Load() != sent.Load() || s.Unknown+s.DeadLetters > 0 || s.Bounced == 0 || s.Bounced != s.Rerouted {
				t.Errorf("%d sent, %d handled: %+v", sent.Load(), handled.Load(), s)
			}
			for _, n := range []*node{here, there} {
				addUp(t, n.EventBus)
			}
			if n := bus.Numbers(there.EventBus); n > 1000 {
				t.Errorf("%d numbers of routes were in use at once", n)
			}
			t.Logf("%d sent, %d sent back", sent.Load(), s.Bounced)
		})
	}
}
