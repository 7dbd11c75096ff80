package bus

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// A paused consumer whose messages go, whichever way, is as idle as one that has
// handled its own, and keeps nothing of the node's pool.
func TestPausedBecomesIdle(t *testing.T) {
	for name, end := range map[string]func(*Consumer, *link){
		"closed":   func(c *Consumer, _ *link) { c.Close() },
		"resumed":  func(c *Consumer, _ *link) { c.Resume() },
		"expired":  func(*Consumer, *link) { time.Sleep(time.Minute) },
		"cut off":  func(_ *Consumer, l *link) { l.fail(errGoodbye) },
		"bus left": func(c *Consumer, _ *link) { (&EventBus{core: c.node.consumers.(*core)}).Close() },
	} {
		for _, from := range []string{"this node", "another"} {
			if name == "cut off" && from == "this node" {
				continue
			}
			t.Run(name+" "+from, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := linkTwo(t)
					if from == "this node" {
						a = b
					}
					block := make(chan struct{})
					c := mustConsume(t, b, "x", func(context.Context, *Message) error { <-block; return nil })
					synctest.Wait()
					ctx, cancel := context.WithCancel(t.Context())
					go func() {
						for a.Send(ctx, "x", make([]byte, 1<<10)) == nil {
						}
					}()
					synctest.Wait() // the window has grown as far as it does
					c.Pause()
					close(block)
					cancel()
					synctest.Wait()
					waits := func() (box bool, n int) {
						c.mu.Lock()
						defer c.mu.Unlock()
						return c.box != nil, c.box.len()
					}
					if _, n := waits(); n == 0 {
						t.Fatal("nothing waits")
					}
					var l *link
					for l = range b.core.members.links {
					}
					end(c, l)
					time.Sleep(time.Second)
					if box, n := waits(); box {
						t.Errorf("the consumer has a mailbox: %d wait", n)
					}
					if kept := b.core.memory - b.core.pool.free.Load(); kept != 0 && from == "this node" {
						t.Errorf("%d bytes of the pool are kept", kept)
					}
				})
			})
		}
	}
}

// A consumer that is idle for a moment keeps its mailbox and what its window has grown by:
// the next burst of messages begins with that. One that is idle for longer keeps nothing.
func TestIdleForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := newQuiet(t)
		block := make(chan struct{})
		c := mustConsume(t, eb, "x", func(context.Context, *Message) error { <-block; return nil })
		burst := func() {
			for range 64 {
				if err := eb.Send(t.Context(), "x", make([]byte, 1<<10)); err != nil {
					t.Error(err)
				}
			}
		}
		go burst()
		synctest.Wait() // the window is full
		close(block)
		synctest.Wait()
		state := func() (box *mailbox, grown int64) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.box, c.local.window - windowFloor
		}
		box, grown := state()
		for range 100 { // until the sender has waited for a consumer that keeps up
			if grown > 0 {
				break
			}
			burst()
			synctest.Wait()
			box, grown = state()
		}
		if box == nil || box.busy() || grown == 0 {
			t.Fatalf("just idle: mailbox %p, window grown by %d", box, grown)
		}
		if err := eb.Send(t.Context(), "x", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if now, more := state(); now != box || more != grown {
			t.Errorf("another mailbox, or the window grown by %d and not %d", more, grown)
		}
		time.Sleep(2 * coarseTick)
		if now, more := state(); now != nil || more != 0 {
			t.Errorf("idle for long: mailbox %p, window grown by %d", now, more)
		}
		if kept := eb.core.memory - eb.core.pool.free.Load(); kept != 0 {
			t.Errorf("%d bytes of the pool are kept", kept)
		}
	})
}

// Only so many consumers keep their mailboxes.
func TestFewIdlersLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := newQuiet(t)
		var consumers []*Consumer
		for i := range 2 * idlersMax {
			address := fmt.Sprint(i)
			consumers = append(consumers, mustConsume(t, eb, address, func(context.Context, *Message) error { return nil }))
			if err := eb.Send(t.Context(), address, nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		boxes := 0
		for _, c := range consumers {
			if c.box != nil {
				boxes++
			}
		}
		if boxes != idlersMax {
			t.Errorf("%d consumers that are idle have a mailbox, want %d", boxes, idlersMax)
		}
	})
}

// An idle consumer costs no more than its size class: what it needs only while it
// has work, or once it has had some, is elsewhere.
func TestConsumerSize(t *testing.T) {
	if n := unsafe.Sizeof(Consumer{}); n > 208 {
		t.Errorf("a consumer takes %d bytes", n)
	}
	if n := unsafe.Sizeof(inbound{}); n > 128 {
		t.Errorf("a consumer takes %d bytes more for each link", n)
	}
}
