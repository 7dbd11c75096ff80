package bus

import (
	"context"
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
					for l = range b.core.links {
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
