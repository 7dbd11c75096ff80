package bus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// A request that was sent back is written at once, though nobody is there to flush it.
func TestReroutedRequestIsWritten(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 3)
	began, block := make(chan struct{}, 1), make(chan struct{})
	defer close(block)
	c := consume(t, nodes[1].EventBus, "a", func(context.Context, *bus.Message) error { began <- struct{}{}; <-block; return nil })
	if err := nodes[0].Send(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	receive(t, began)
	done := make(chan error, 1)
	go func() { _, err := nodes[0].Request(t.Context(), "a", nil); done <- err }()
	within(t, "sent", func() bool { return nodes[0].Stats().Sent == 2 })
	consume(t, nodes[2].EventBus, "a", nothing)
	closed := time.Now()
	c.Close()
	err := receive(t, done)
	if took := time.Since(closed); err != nil || took > 500*time.Millisecond { // a PING would take it along, but later
		t.Errorf("rerouted request: %v after %v", err, took)
	}
}

// A request that comes back does not go to the scope whose turn its caller holds.
func TestReroutedIntoOwnScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		block := make(chan int)
		remote := consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil })
		c.Bus(0).Send(t.Context(), "a", nil)
		s := c.Bus(0).Scope()
		consume(t, s, "a", nothing)
		result := make(chan error, 1)
		consume(t, s, "b", func(ctx context.Context, m *bus.Message) error {
			_, err := c.Bus(0).Request(ctx, "a", nil)
			result <- err
			return nil
		})
		if err := c.Bus(0).Send(t.Context(), "b", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		remote.Close()
		err := <-result
		if took := time.Since(begin); took > time.Second && !errors.Is(err, bus.ErrDeadlock) && !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("after %v: %v", took, err)
		}
		if s := c.Bus(0).Stats(); s.Canceled+s.Expired > 0 {
			t.Logf("it was given to the caller's own scope: %+v", s)
		}
		close(block)
	})
}

// A removal that has to wait for room on its link is written before what is
// sent back: the sender would choose the same consumer again.
func TestRemovalBeforeBounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		for range 40 { // each takes one message, whatever its window
			consume(t, c.Bus(0), "sink", nothing)
		}
		block := make(chan struct{})
		closing := consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil })
		for i := range 10 {
			if err := c.Bus(0).Send(t.Context(), "a", i); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		c.Conn(1, 0).Stall()
		for range 40 { // 2.5 MB: more than the stream and the buffer hold
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_ = c.Bus(1).Send(ctx, "sink", make([]byte, 64<<10))
			cancel()
		}
		closing.Close()
		for i := range 3 { // these arrive at a consumer that is closed
			if err := c.Bus(0).Send(t.Context(), "a", i); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		c.Conn(1, 0).Resume()
		close(block)
		synctest.Wait()
		time.Sleep(time.Second)
		if s := c.Bus(0).Stats(); s.Bounced != 12 || s.DeadLetters > 0 {
			t.Errorf("12 messages came back %d times, %d died", s.Bounced, s.DeadLetters)
		}
		var got atomic.Int32
		consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { got.Add(1); return nil })
		synctest.Wait()
		if got.Load() != 12 {
			t.Errorf("the next consumer got %d", got.Load())
		}
	})
}

// What is sent back waits for the removal of its route also where that waits behind
// other changes of routes, for which the link has no room: what had come before the
// consumer closed, and what comes then.
func TestBounceWaitsForARemovalThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeerOver(t, []bustest.PipeOption{bustest.WithBuffer(4 << 10)}, bus.WithDrainTimeout(0))
		block := make(chan struct{})
		defer close(block)
		register := func(address string) *bus.Consumer {
			cn, err := p.eb.Consume(address, bus.HandlerFunc(func(context.Context, *bus.Message) error { <-block; return nil }))
			if err != nil {
				t.Fatal(err)
			}
			return cn
		}
		closing := register("in")
		synctest.Wait()
		msg := func(body string) *wire.Frame {
			return msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 60_000, Body: []byte(body)})
		}
		p.say(routesFrame(1, true, nil), msg("begun"), msg("waits"))
		for i := range 1000 { // 260 KB, of which the peer reads nothing
			register(fmt.Sprintf("%0255d", i))
		}
		synctest.Wait()
		closing.Close()
		p.say(msg("late"))
		said, removed, back := bufio.NewReader(p), false, []string(nil)
		for len(back) < 2 {
			f := nextFrame(t, said)
			removed = removed || slices.Contains(f.GetRoutes().GetRemoved(), 1)
			if b := f.GetBounce(); b != nil {
				if back = append(back, string(b.Body)); !removed {
					t.Errorf("%q is sent back before the removal", b.Body)
				}
			}
		}
		if fmt.Sprint(back) != "[waits late]" {
			t.Errorf("%q are sent back", back)
		}
	})
}

// What is sent back waits behind what was sent back before it, and ahead of what
// has never found a consumer.
func TestSentBackGoesFirst(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		block := make(chan struct{})
		defer close(block)
		body := func(i byte) []byte { return append(make([]byte, 300), i) } // three start in the window
		fill := func() *bus.Consumer {
			c := consume(t, p.to, "a", func(context.Context, *bus.Message) error { <-block; return nil }, bus.WithWindow(1<<10))
			for i := range byte(3) {
				if err := p.from.Send(t.Context(), "a", body(i)); err != nil {
					t.Fatal(err)
				}
			}
			return c
		}
		fill() // one that stays, or nobody would wait for room
		first := fill()
		waited := make(chan error, 1)
		go func() { waited <- p.from.Send(t.Context(), "a", body(3)) }()
		synctest.Wait()
		first.Close()
		synctest.Wait()
		got := make(chan byte, 3)
		consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error { got <- m.Body[300]; return nil })
		for want := byte(1); want <= 3; want++ {
			if i := receive(t, got); i != want {
				t.Errorf("message %d came in place of %d", i, want)
			}
		}
		if err := receive(t, waited); err != nil {
			t.Error(err)
		}
	})
}
