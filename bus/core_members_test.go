package bus_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// A message that waits for a first link sees a consumer that appears elsewhere.
func TestAwaitLinkSeesConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		l, _ := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
		defer l.Expect(bus.Peer{Name: "n1", Boot: 2})()
		time.AfterFunc(500*time.Millisecond, func() { eb.Consume("a", bus.HandlerFunc(nothing)) })
		begin := time.Now()
		if err := eb.Send(t.Context(), "a", nil); err != nil || time.Since(begin) > time.Second {
			t.Errorf("a consumer came after 500 ms; after %v: %v", time.Since(begin), err)
		}
	})
}

// Messages do not wait for a member that is linked already.
func TestExpectLinked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		p.say(routesFrame(1, true, nil))
		defer p.attachment.Expect(bus.Peer{Name: "n1", Boot: 2})()
		begin := time.Now()
		err := p.eb.Send(t.Context(), "a", nil)
		if time.Since(begin) > 0 {
			t.Errorf("all members are linked; the error took %v: %v", time.Since(begin), err)
		}
	})
}

// A context that ends while a call waits for a first link is in the error.
func TestContextWhileLinking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		l, _ := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
		defer l.Expect(bus.Peer{Name: "n1", Boot: 2})()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := eb.Request(ctx, "a", nil); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestExpect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bus.New(quiet), bus.New(quiet)
		defer a.Close()
		defer b.Close()
		la, _ := a.Attach(bus.Peer{Name: "a", Boot: 1}, nil)
		lb, _ := b.Attach(bus.Peer{Name: "b", Boot: 2}, nil)
		consume(t, b, "x", nothing)
		forget := la.Expect(bus.Peer{Name: "b", Boot: 2})
		ca, cb := bustest.Pipe()
		var wg sync.WaitGroup
		time.AfterFunc(time.Second, func() {
			wg.Go(func() { la.ServeLink(context.Background(), bus.Peer{Name: "b", Boot: 2}, ca, nil) })
			wg.Go(func() { lb.ServeLink(context.Background(), bus.Peer{Name: "a", Boot: 1}, cb, nil) })
		})
		if _, err := a.Request(t.Context(), "x", nil); err != nil {
			t.Errorf("while the first link comes up: %v", err)
		}
		begin := time.Now()
		if err := a.Send(t.Context(), "y", nil); !errors.Is(err, bus.ErrNoConsumer) || time.Since(begin) > 0 {
			t.Errorf("once it is up, after %v: %v", time.Since(begin), err)
		}
		ca.Reset()
		synctest.Wait()
		err := a.Send(t.Context(), "x", nil)
		if want := `bus: no consumer of "x" (alive, but not linked: b)`; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		forget()
		wg.Wait()
	})
}
