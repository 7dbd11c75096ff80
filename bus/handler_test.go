package bus_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

func TestConcurrency(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var at sync.WaitGroup
		at.Add(4)
		consume(t, p.to, "a", func(context.Context, *bus.Message) error {
			at.Done()
			at.Wait() // all four at once
			return nil
		}, bus.WithConcurrency(4))
		for range 4 {
			if err := p.from.Send(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
		}
		at.Wait()
	})
}

// A nil *ReplyError as an error is an answer too.
func TestTypedNil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		consume(t, eb, "a", func(context.Context, *bus.Message) error { var e *bus.ReplyError; return e })
		begin := time.Now()
		_, err := eb.Request(t.Context(), "a", nil)
		if took := time.Since(begin); took > 0 {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// A handler that ends its goroutine does not stop its consumer.
func TestGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet, bus.WithDrainTimeout(time.Second))
		defer eb.Close()
		consume(t, eb, "a", func(_ context.Context, m *bus.Message) error {
			if len(m.Body) == 0 {
				runtime.Goexit()
			}
			return nil
		})
		eb.Send(t.Context(), "a", nil)
		synctest.Wait()
		if _, err := eb.Request(t.Context(), "a", []byte("x")); err != nil {
			t.Error(err)
		}
	})
}

// A consumer with concurrency takes a message while its handler is busy with
// one that came before.
func TestConcurrencyLater(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		began, block := make(chan struct{}), make(chan struct{})
		defer close(block)
		consume(t, p.to, "a", func(context.Context, *bus.Message) error {
			began <- struct{}{}
			<-block
			return nil
		}, bus.WithConcurrency(3))
		for range 3 {
			if err := p.from.Send(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
			receive(t, began)
		}
	})
}
