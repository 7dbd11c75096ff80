package bus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// A turn that is over is held by nobody: not by what outlives its handler with the
// handler's values, however the handler's context has ended.
func TestTurnEndsWithItsHandler(t *testing.T) {
	for _, name := range []string{"in time", "given up", "expired"} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, p pair) {
				scope := p.to.Scope()
				outlives := make(chan context.Context, 1)
				consume(t, scope, "a", func(ctx context.Context, m *bus.Message) error {
					if len(m.Body) == 0 {
						return nil
					}
					if name != "in time" {
						<-ctx.Done()
					}
					outlives <- context.WithoutCancel(ctx)
					return nil
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if name == "given up" {
					time.AfterFunc(time.Millisecond, cancel)
				}
				_, _ = p.from.Request(ctx, "a", []byte("first"))
				time.Sleep(2 * time.Second)
				later := <-outlives
				if _, err := p.to.Request(later, "a", nil); err != nil {
					t.Errorf("request: %v", err)
				}
				if err := scope.Do(later, func(context.Context) error { return nil }); err != nil {
					t.Errorf("Do: %v", err)
				}
			})
		})
	}
}

// A call that began in a turn and outlives it may be taken by the consumers whose
// turn that was.
func TestCallOutlivesItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		scope := eb.Scope()
		block := make(chan struct{})
		defer close(block)
		full := consume(t, eb, "b", func(context.Context, *bus.Message) error { <-block; return nil }, bus.WithWindow(1<<10))
		if err := eb.Send(t.Context(), "b", make([]byte, 2000)); err != nil {
			t.Fatal(err)
		}
		consume(t, scope, "b", nothing)
		asked, goesOn := make(chan error, 1), make(chan struct{})
		consume(t, scope, "a", func(ctx context.Context, m *bus.Message) error {
			go func() { _, err := eb.Request(context.WithoutCancel(ctx), "b", nil); asked <- err }()
			<-goesOn
			return nil
		})
		if err := eb.Send(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the request waits for room: the other consumer is the turn's
		close(goesOn)
		synctest.Wait()
		full.Close()
		if err := receive(t, asked); err != nil {
			t.Error(err)
		}
	})
}
