package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// slack is what a network of everywhere, and the clock that the bus reads, may
// change in a time.
const slack = 100 * time.Millisecond

// A request ends at its context's deadline and not before, and after 30 s if
// that has none.
func TestRequestEndsAtItsDeadline(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		consume(t, p.to, "silent", func(ctx context.Context, _ *bus.Message) error { <-ctx.Done(); return ctx.Err() })
		ask := func(ctx context.Context, least, most time.Duration) {
			t.Helper()
			begin := time.Now()
			_, err := p.from.Request(ctx, "silent", nil)
			if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took < least || took > most {
				t.Errorf("after %v: %v; want a time-out after %v to %v", took, err, least, most)
			}
		}
		for _, limit := range []time.Duration{time.Second, time.Minute} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			ask(ctx, limit, limit)
		}
		ask(t.Context(), 30*time.Second-slack, 30*time.Second+slack)
	})
}

// A call ends after the time that Within says, or with its context if that ends before,
// and so does its message: whichever is earlier is the deadline of both.
func TestWithin(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		deadlines := make(chan time.Duration, 1)
		consume(t, p.to, "silent", func(ctx context.Context, _ *bus.Message) error {
			d, _ := ctx.Deadline()
			deadlines <- time.Until(d)
			<-ctx.Done()
			return ctx.Err()
		})
		for _, c := range []struct{ context, within, want time.Duration }{
			{0, time.Second, time.Second},
			{0, time.Minute, time.Minute},
			{time.Minute, time.Second, time.Second},
			{time.Second, time.Minute, time.Second},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			if c.context > 0 {
				ctx, cancel = context.WithTimeout(t.Context(), c.context)
			}
			begin := time.Now()
			_, err := p.from.Request(ctx, "silent", nil, bus.Within(c.within))
			if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took < c.want || took > c.want+slack {
				t.Errorf("context of %v, within %v: %v after %v", c.context, c.within, err, took)
			}
			if left := receive(t, deadlines); left > c.want || left < c.want-slack {
				t.Errorf("context of %v, within %v: the handler has %v", c.context, c.within, left)
			}
			cancel()
		}
	})
}

// A message that finds no room waits for as long as Within says, and a publish for no
// longer; RequestAll has as long for all.
func TestWithinWhileBusy(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		c := consume(t, p.to, "busy", nothing, bus.WithWindow(1<<10))
		c.Pause()
		send(t, p.from, "busy", string(make([]byte, 1<<10)))
		for name, call := range map[string]struct {
			call func(bus.CallOption) error
			want error
		}{
			"Send":       {func(o bus.CallOption) error { return p.from.Send(t.Context(), "busy", nil, o) }, bus.ErrBusy},
			"large Send": {func(o bus.CallOption) error { return p.from.Send(t.Context(), "busy", make([]byte, 1<<20), o) }, bus.ErrBusy},
			"Request":    {func(o bus.CallOption) error { _, err := p.from.Request(t.Context(), "busy", nil, o); return err }, bus.ErrBusy},
			"RequestAll": {func(o bus.CallOption) error { _, err := p.from.RequestAll(t.Context(), "busy", nil, o); return err }, context.DeadlineExceeded},
			"Await":      {func(o bus.CallOption) error { return p.from.Send(t.Context(), "nobody", nil, bus.Await(), o) }, bus.ErrNoConsumer},
			"Publish":    {func(o bus.CallOption) error { return p.from.Publish(t.Context(), "busy", nil, o) }, nil},
		} {
			begin := time.Now()
			err := call.call(bus.Within(50 * time.Millisecond))
			if took := time.Since(begin); !errors.Is(err, call.want) || took != 50*time.Millisecond {
				t.Errorf("%s: %v after %v; want %v after 50ms", name, err, took, call.want)
			}
		}
	})
}

// A request to an address without consumers fails at once, and names it.
func TestRequestToNobodyFailsAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		begin := time.Now()
		_, err := p.from.Request(t.Context(), "nobody", nil)
		if took := time.Since(begin); !errors.Is(err, bus.ErrNoConsumer) || !strings.Contains(err.Error(), `"nobody"`) || took > slack {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// A reply that comes when its request has ended is dropped, and counted.
func TestLateReplyIsDropped(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		replied := make(chan struct{})
		consume(t, p.to, "slow", func(ctx context.Context, m *bus.Message) error {
			time.Sleep(2 * time.Second)
			_ = m.Reply(ctx, "late") // whether it is an error already is open
			replied <- struct{}{}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if m, err := p.from.Request(ctx, "slow", nil); !errors.Is(err, context.DeadlineExceeded) || m != nil {
			t.Errorf("%v, %v; want a time-out", m, err)
		}
		receive(t, replied)
		m, err := p.from.Request(t.Context(), "slow", nil) // is not answered by the first one's reply
		receive(t, replied)
		if err != nil || string(m.Body) != `"late"` {
			t.Errorf("the next request: %v, %v", m, err)
		}
		time.Sleep(2 * time.Second)
		if s := p.from.Stats(); s.LateReplies > 1 || s.Unknown > 0 || s.Settled != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// When a request was answered in time its deadline ends nothing any more: neither
// it nor what its handler still does counts as late.
func TestNoTimeOutAfterTheReply(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, "in time") })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.from.Request(ctx, "a", nil); err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		time.Sleep(time.Second)
		from, to := p.from.Stats(), p.to.Stats()
		if from.Settled != 1 || from.Unknown+from.LateReplies > 0 || to.Handled != 1 || to.Expired+to.Canceled+to.Failed > 0 {
			t.Errorf("sender %+v, receiver %+v", from, to)
		}
	})
}

// What a handler sends is on its way at once, though it goes on and blocks.
func TestSendFromAHandlerThatBlocks(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		arrived := make(chan struct{})
		consume(t, p.to, "next", func(context.Context, *bus.Message) error { close(arrived); return nil })
		consume(t, p.to, "blocks", func(ctx context.Context, _ *bus.Message) error {
			if err := p.to.Send(ctx, "next", nil); err != nil {
				return err
			}
			receive(t, arrived) // before it returns
			return nil
		})
		if _, err := p.from.Request(t.Context(), "blocks", nil); err != nil {
			t.Error(err)
		}
	})
}
