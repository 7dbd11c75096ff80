package bus

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// isQuiet reports what leaving waits for.
func isQuiet(c *core) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.members.links {
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	return leaver{c}.quiet()
}

// A question that comes when its requester has just given up, and is still in the
// table, is answered at once.
func TestQuestionBetweenGivingUpAndWithdrawing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := linkTwo(t)
		mustConsume(t, b, "x", func(ctx context.Context, m *Message) error {
			_, err := m.Request(context.Background(), nil)
			var no *ReplyError
			if !errors.As(err, &no) || no.Code != CodeUnanswered {
				t.Errorf("the asker got %v", err)
			}
			return nil
		})
		synctest.Wait()
		c := a.core
		var o outgoing
		r, _, err := c.sender.prepare(t.Context(), &o, VerbRequest, kindRequest, "x", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		o.call = c.calls.get(o.due(c.services))
		if rt, _ := r.try(&o, reach{all: r.routes.Load()}); rt == nil {
			t.Fatal("no route took it")
		}
		o.call.ended.Store(true) // which withdraw would follow
		begin := time.Now()
		synctest.Wait()
		time.Sleep(payDelay) // for its credit
		synctest.Wait()
		if s := b.Stats(); s.Handled != 1 || time.Since(begin) > payDelay || !isQuiet(a.core) {
			t.Errorf("%+v", s)
		}
	})
}

// A bus does not say goodbye before what it has sent is settled, and what it has
// received is paid for: each side would count it as unknown.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := linkTwo(t)
		block := make(chan struct{})
		mustConsume(t, b, "x", func(context.Context, *Message) error { <-block; return nil })
		synctest.Wait()
		check := func(when string, qa, qb bool) {
			t.Helper()
			synctest.Wait()
			if ga, gb := isQuiet(a.core), isQuiet(b.core); ga != qa || gb != qb {
				t.Errorf("%s: quiet are %v and %v, not %v and %v", when, ga, gb, qa, qb)
			}
		}
		check("at rest", true, true)
		if err := a.Send(t.Context(), "x", nil); err != nil {
			t.Fatal(err)
		}
		check("sent", false, false)
		block <- struct{}{}
		check("handled, but not paid", false, false)
		time.Sleep(payDelay)
		check("paid", true, true)

		l := onlyLink(t, a.core)
		id := l.pend.add(a.core.calls.get(a.core.clock.now()+int64(time.Minute)), 1, nil)
		check("asked", false, true)
		l.pend.take(id)
		check("answered", true, true)
	})
}

// A link that comes up as the bus begins to leave says LEAVING, once: the bus says it on no
// link that has said it.
func TestLeavingIsSaidOnce(t *testing.T) {
	t.Parallel()
	c := newCore(config{log: slog.New(slog.DiscardHandler)})
	l := c.newLink(Peer{Name: "peer", Boot: 2}, nil, nil)
	c.leave.to(busLeaves)
	if err := c.addLink(l); err != nil {
		t.Fatal(err)
	}
	leaver{c}.beginLeaving()
	l.mu.Lock()
	defer l.mu.Unlock()
	said := 0
	for b := l.first; len(b) > 0; {
		kind, _, end, err := frame.Next(b)
		if err != nil || end == 0 {
			t.Fatalf("%x: %v", b, err)
		}
		if b = b[end:]; kind == frame.Leaving {
			said++
		}
	}
	if said != 1 {
		t.Errorf("LEAVING is said %d times", said)
	}
}
