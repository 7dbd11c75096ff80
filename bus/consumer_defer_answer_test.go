package bus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// A request whose answer is deferred may be answered by a question under its handler's
// context, which lives until the question's own answer has come.
func TestDeferredQuestionUnderItsHandlersContext(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var s shelf
		contexts := make(chan context.Context, 1)
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			contexts <- ctx
			return s.Handle(ctx, m)
		}, bus.Deferring())
		end := asks(t.Context(), p.from, "a", 1, nil)[0]
		m, ctx := s.take(t), receive(t, contexts)
		synctest.Wait() // the handler has returned
		answer := make(chan outcome, 1)
		go func() {
			m, err := m.Request(ctx, "how many?")
			answer <- outcome{m, err}
		}()
		q := receive(t, end)
		if q.err != nil {
			t.Fatal(q.err)
		}
		time.Sleep(time.Second)
		if err := ctx.Err(); err != nil {
			t.Errorf("the handler's context ended while the question waited: %v", err)
		}
		if err := q.m.Reply(t.Context(), 7); err != nil {
			t.Error(err)
		}
		var n int
		if a := receive(t, answer); a.err != nil || a.m.Decode(&n) != nil || n != 7 {
			t.Errorf("%d, %v", n, a.err)
		}
		if ctx.Err() == nil {
			t.Error("the handler's context lives on")
		}
		atRest(t, p.from, p.to)
	})
}
