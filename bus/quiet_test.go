package bus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// isQuiet reports what leaving waits for.
func isQuiet(c *core) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.links {
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	return c.quiet()
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
		id := l.pend.add(a.core.newCall(a.core.clock()+int64(time.Minute)), 1, nil)
		check("asked", false, true)
		l.pend.take(id)
		check("answered", true, true)
	})
}
