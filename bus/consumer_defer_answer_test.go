package bus_test

import (
	"context"
	"errors"
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

// underWay waits until an answer to the request is being given.
func underWay(m *bus.Message) {
	for m.WantsReply() {
		time.Sleep(time.Millisecond)
	}
}

// A handler may return while another goroutine asks: the question waits on.
func TestDeferredQuestionWhileItsHandlerReturns(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		answer := make(chan outcome, 1)
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			err := m.Defer()
			go func() {
				m, err := m.Request(ctx, "how many?")
				answer <- outcome{m, err}
			}()
			underWay(m)
			return err
		}, bus.Deferring())
		q, err := p.from.Request(t.Context(), "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := q.Reply(t.Context(), 7); err != nil {
			t.Error(err)
		}
		if a := receive(t, answer); a.err != nil {
			t.Error(a.err)
		}
		atRest(t, p.from, p.to)
	})
}

// A request that was answered by a question in time is not forgotten, however long the
// question waits.
func TestDeferredQuestionIsAnAnswer(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var s shelf
		consume(t, p.to, "a", s.Handle, bus.Deferring())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		end := asks(ctx, p.from, "a", 1, nil)[0]
		m, answer := s.take(t), make(chan error, 1)
		go func() {
			_, err := m.Request(t.Context(), "how many?")
			answer <- err
		}()
		q := receive(t, end)
		if q.err != nil {
			t.Fatal(q.err)
		}
		time.Sleep(2 * time.Second)
		if err := q.m.Reply(t.Context(), 7); err != nil {
			t.Error(err)
		}
		if err := receive(t, answer); err != nil {
			t.Error(err)
		}
		atRest(t, p.from, p.to)
		if n := p.to.Stats().Forgotten; n != 0 {
			t.Errorf("%d requests were forgotten", n)
		}
	})
}

// A handler may return while its answer is under way: its context lives on, and the
// answer arrives.
func TestDeferredReplyWhileItsHandlerReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sn := newLine(t, line{rate: mbit(8), buffer: 64 << 10})
		defer sn.close()
		replied := make(chan error, 1)
		consume(t, sn.bus(1), "a", func(ctx context.Context, m *bus.Message) error {
			err := m.Defer()
			go func() { replied <- m.Reply(ctx, make([]byte, 1<<20)) }() // which takes a second
			underWay(m)
			return err
		}, bus.Deferring())
		if m, err := sn.bus(0).Request(t.Context(), "a", nil); err != nil || len(m.Body) != 1<<20 {
			t.Error(err)
		}
		if err := receive(t, replied); err != nil {
			t.Error(err)
		}
		atRest(t, sn.bus(0), sn.bus(1))
	})
}

// An answer that comes to nothing, for want of room, leaves the request as it was, also
// where its handler has returned meanwhile: it is being handled, and can be answered
// again, or be forgotten.
func TestDeferredReplyThatComesToNothing(t *testing.T) {
	for name, again := range map[string]bool{"answered again": true, "forgotten": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sn := newLine(t, line{rate: mbit(8), buffer: 64 << 10})
				defer sn.close()
				contexts, ms, replied := make(chan context.Context, 1), make(chan *bus.Message, 1), make(chan error, 1)
				consume(t, sn.bus(1), "a", func(ctx context.Context, m *bus.Message) error {
					contexts <- ctx
					ms <- m
					err := m.Defer()
					go func() {
						short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
						defer cancel()
						replied <- m.Reply(short, make([]byte, 1<<20))
					}()
					underWay(m)
					return err
				}, bus.Deferring())
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				end := asks(ctx, sn.bus(0), "a", 1, nil)[0]
				handler, m := receive(t, contexts), receive(t, ms)
				if err := receive(t, replied); !errors.Is(err, bus.ErrBusy) || !errors.Is(err, context.DeadlineExceeded) || !m.WantsReply() {
					t.Fatalf("%v; wants a reply still: %v", err, m.WantsReply())
				}
				synctest.Wait()
				if err := handler.Err(); err != nil {
					t.Errorf("the handler's context ended: %v", err)
				}
				var forgotten uint64 = 1
				if again {
					forgotten = 0
					if err := m.Reply(handler, "small"); err != nil {
						t.Error(err)
					}
				}
				if e := receive(t, end); (e.err == nil) != again {
					t.Error(e.err)
				}
				atRest(t, sn.bus(0), sn.bus(1))
				if n := sn.bus(1).Stats().Forgotten; n != forgotten {
					t.Errorf("%d requests were forgotten, not %d", n, forgotten)
				}
			})
		})
	}
}
