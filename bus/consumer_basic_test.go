package bus_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// Known returns when every node knows the consumer, and not before the last one
// does; it may be asked again, and by several at once.
func TestKnownWaitsForEveryNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		c.Conn(0, 2).Stall()
		cn, err := c.Bus(0).Consume("a", bus.HandlerFunc(nothing))
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		time.AfterFunc(time.Second, c.Conn(0, 2).Resume)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := cn.Known(t.Context()); err != nil || time.Since(begin) < time.Second {
					t.Errorf("known after %v: %v", time.Since(begin), err)
				}
			})
		}
		wg.Wait()
		for i := range 3 {
			if err := c.Bus(i).Send(t.Context(), "a", nil); err != nil {
				t.Errorf("from n%d: %v", i, err)
			}
		}
		if err := cn.Known(t.Context()); err != nil {
			t.Errorf("asked again: %v", err)
		}
	})
}

// A consumer that is closed at once leaves nothing behind, and nobody who waits
// for it to be known.
func TestCloseBeforeKnown(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		for range 20 {
			cn, err := p.to.Consume("a", bus.HandlerFunc(nothing))
			if err != nil {
				t.Fatal(err)
			}
			known := make(chan error, 1)
			go func() { known <- cn.Known(t.Context()) }()
			if err := cn.Close(); err != nil {
				t.Fatal(err)
			}
			if err := receive(t, known); err != nil && !errors.Is(err, bus.ErrClosed) {
				t.Errorf("known: %v", err)
			}
			receive(t, cn.Done())
		}
		nobodyLeft(t, p)
	})
}

// nobodyLeft waits until both buses know of no consumer of "a".
func nobodyLeft(t *testing.T, p pair) {
	t.Helper()
	for _, eb := range []*bus.EventBus{p.from, p.to} {
		within(t, "nobody is left", func() bool { return errors.Is(eb.Send(t.Context(), "a", nil), bus.ErrNoConsumer) })
	}
}

// When the last consumer has closed, its own node and the others know of none.
func TestNobodyLeftAfterClose(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		cn := consume(t, p.to, "a", nothing)
		for _, eb := range []*bus.EventBus{p.from, p.to} {
			if _, err := eb.Request(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := cn.Close(); err != nil {
			t.Fatal(err)
		}
		nobodyLeft(t, p)
	})
}

// Done tells of the end of a consumer, by its own Close or by that of its bus.
func TestDoneByEitherClose(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		own, bus := consume(t, p.to, "a", nothing), consume(t, p.to, "b", nothing)
		select {
		case <-own.Done():
			t.Error("done before it was closed")
		case <-bus.Done():
			t.Error("done before its bus was closed")
		default:
		}
		if err := own.Close(); err != nil {
			t.Fatal(err)
		}
		receive(t, own.Done())
		if err := p.to.Close(); err != nil {
			t.Fatal(err)
		}
		receive(t, bus.Done())
		if own.Close() != nil || bus.Close() != nil {
			t.Error("closing again is an error")
		}
	})
}

// A handler that panics while messages wait stops none of them.
func TestPanicDoesNotStopTheNext(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		block := make(chan struct{})
		var handled atomic.Int32
		consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error {
			<-block
			if handled.Add(1)%2 == 1 {
				panic("odd")
			}
			return nil
		})
		const n = 10
		for range n {
			if err := p.from.Send(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
		}
		close(block)
		within(t, "all handled", func() bool { s := p.to.Stats(); return s.Handled == n && s.Panics == n/2 })
	})
}

// A handler may close its own consumer: it is the last one that ran, and what
// waited goes to another.
func TestCloseInItsOwnHandler(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		var first, second atomic.Int32
		var cn *bus.Consumer
		block := make(chan struct{})
		cn = consume(t, p.to, "a", func(context.Context, *bus.Message) error {
			<-block
			first.Add(1)
			return cn.Close()
		})
		const n = 10
		for range n {
			if err := p.from.Send(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
		}
		asked := make(chan error, 1)
		go func() { _, err := p.from.Request(t.Context(), "a", nil); asked <- err }()
		synctest.Wait()
		close(block)
		receive(t, cn.Done())
		consume(t, p.to, "a", func(context.Context, *bus.Message) error { second.Add(1); return nil })
		if err := receive(t, asked); err != nil {
			t.Errorf("a request that waited: %v", err)
		}
		if first.Load() != 1 || second.Load() != n {
			t.Errorf("the first handled %d, the second %d", first.Load(), second.Load())
		}
	})
}

// A request that waits at a consumer which closes, and for which no other
// appears, ends by its deadline and says that there is no consumer.
func TestRequestOfAClosedConsumerEnds(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		block := make(chan struct{})
		defer close(block)
		cn := consume(t, p.to, "a", func(context.Context, *bus.Message) error { <-block; return nil })
		if err := p.from.Send(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		asked := make(chan error, 1)
		go func() { _, err := p.from.Request(ctx, "a", nil); asked <- err }()
		synctest.Wait()
		if err := cn.Close(); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, asked); err == nil || ctx.Err() == nil && !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("it ended with %v", err)
		} else {
			t.Log(err)
		}
	})
}

// While consumers of an address come and go, each closed as soon as it is there, no
// message is lost as long as one of them stays, none is a dead letter, and each is
// handled once.
func TestConsumersComeAndGo(t *testing.T) {
	t.Parallel()
	eb := bus.New(quiet)
	t.Cleanup(func() { eb.Close() })
	var stays, goes atomic.Int64
	if _, err := eb.Consume("a", bus.HandlerFunc(func(context.Context, *bus.Message) error { stays.Add(1); return nil }), bus.WithWindow(4<<10)); err != nil {
		t.Fatal(err)
	}
	rounds := 300_000
	if testing.Short() {
		rounds = 20_000
	}
	done := make(chan struct{})
	go func() { // ends after its rounds, and when something was sent back; the loop below waits for it
		defer close(done)
		for i := 0; i < rounds || eb.Stats().Bounced == 0 && t.Context().Err() == nil; i++ {
			cn, err := eb.Consume("a", bus.HandlerFunc(func(context.Context, *bus.Message) error { goes.Add(1); return nil }),
				bus.WithWindow(4<<10)) // what is sent back at each close
			if err != nil {
				t.Error(err)
				return
			}
			cn.Close()
		}
	}()
	sent := int64(0)
	for over := false; !over; sent++ {
		select {
		case <-done:
			over = true
		default:
		}
		if err := eb.Send(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "all settled", func() bool { s := eb.Stats(); return s.Sent == s.Settled+s.Bounced })
	within(t, "all handled, or dead", func() bool { return stays.Load()+goes.Load()+int64(eb.Stats().DeadLetters) >= sent })
	s := eb.Stats()
	if n := stays.Load() + goes.Load(); n != sent || s.DeadLetters+s.Unknown > 0 || s.Bounced == 0 || s.Bounced != s.Rerouted {
		t.Errorf("%d sent, %d handled: %+v", sent, n, s)
	}
	t.Logf("%d sent, %d sent back", sent, s.Bounced)
}

// Consumers that share no scope do not wait for each other.
func TestConsumersDoNotWaitForEachOther(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		var all sync.WaitGroup
		all.Add(10)
		for range 10 {
			consume(t, p.to, "a", func(context.Context, *bus.Message) error {
				all.Done()
				all.Wait() // for the other nine
				return nil
			})
		}
		if err := p.from.Publish(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		all.Wait()
	})
}
