package bus

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// asked returns a request from a to the consumers of x, which is not yet posted.
func asked(t *testing.T, c *core, body []byte) *outgoing {
	t.Helper()
	o := new(outgoing)
	if _, _, err := c.sender.prepare(t.Context(), o, VerbRequest, kindRequest, "x", body, nil); err != nil {
		t.Fatal(err)
	}
	o.call = c.calls.get(o.due(c.services))
	return o
}

// A caller that gives up while its request is on its way from one place to the
// next, in nobody's table and in no list, is asked nothing any more: the request
// gets into neither.
func TestGivenUpBetweenTwoPlaces(t *testing.T) {
	for name, into := range map[string]func(t *testing.T, c *core, o *outgoing){
		"a list": func(_ *testing.T, c *core, o *outgoing) { c.rings.reroute("x", o, false) },
		"a table, from its list": func(t *testing.T, c *core, o *outgoing) {
			r := c.rings.dir.get("x")
			if rt, _ := r.try(o, reach{all: r.routes.Load()}); rt != nil {
				t.Error("a route took it")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, linked := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					a, b := linkTwo(t)
					to := a
					if linked {
						to = b
					}
					mustConsume(t, to, "x", func(context.Context, *Message) error { t.Error("handled"); return nil })
					synctest.Wait()
					o := asked(t, a.core, nil)
					o.call.ended.Store(true) // where await does it
					o.call.withdraw(context.Canceled)
					into(t, a.core, o)
					synctest.Wait()
					if s := a.Stats(); s.Sent > 0 || s.DeadLetters > 0 || !isQuiet(a.core) || a.core.work.waiting.Load() > 0 {
						t.Errorf("linked %v: %+v; waiting %d", linked, s, a.core.work.waiting.Load())
					}
				})
			}
		})
	}
}

// A large request is taken back, as its consumer has gone, when its time is over
// and it has just been taken out of its table to be told so. It is posted to no
// other consumer: who uses its call next would get its end.
func TestTakenBackWhileItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := linkTwo(t)
		b.core.budget.free = 0 // it has no memory for large bodies: they wait
		closing := mustConsume(t, b, "x", nothing)
		synctest.Wait()
		begin, ended := time.Now(), make(chan error, 1)
		go func() { _, err := a.Request(context.Background(), "x", make([]byte, 100<<10)); ended <- err }()
		synctest.Wait()
		mustConsume(t, a, "x", nothing).Pause() // it could take it
		p := &onlyLink(t, a.core).pend
		time.Sleep(defaultTimeout - time.Nanosecond)
		p.mu.Lock() // the first half of pending.end
		var call *call
		for id := range p.table.all() {
			call = p.takeLocked(id)
		}
		p.mu.Unlock()
		closing.Close()
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != defaultTimeout {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		if n := a.core.own.pend.n.Load() + p.n.Load(); n > 0 {
			t.Errorf("%d calls are pending", n)
		}
		if p.expired(call, context.DeadlineExceeded); len(call.ch) > 0 { // and the second
			t.Error("answered once more")
		}
	})
}
