package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// TestRequestsByEnd: each request counts once, by how it ended, at its address and of the
// bus, also where the address is not known or forgotten.
func TestRequestsByEnd(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		block := make(chan struct{})
		consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error {
			switch string(m.Body) {
			case "no":
				return errors.New("no")
			case "fail":
				return m.Fail(errors.New("no"))
			case "wait":
				time.Sleep(1500 * time.Millisecond) // of virtual time: longer than any deadline here
			}
			return nil
		}, bus.WithConcurrency(9))
		full := consume(t, p.to, "full", func(context.Context, *bus.Message) error { <-block; return nil }, bus.WithWindow(1<<10))
		for range 9 {
			go p.from.Send(t.Context(), "full", make([]byte, 256))
			synctest.Wait()
		}
		ask := func(address, body string, opts ...bus.CallOption) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			p.from.Request(ctx, address, []byte(body), opts...)
		}
		ask("a", "ok")
		ask("a", "no")
		ask("a", "fail")
		ask("a", "wait")
		ask("full", "")
		ask("nobody", "")
		ask("a", "", bus.WithHeader("", "wrong"))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		p.from.Request(ctx, "a", []byte("wait"))
		p.from.RequestAll(t.Context(), "a", []byte("ok"))
		p.from.RequestAll(t.Context(), "nobody", nil)
		close(block)
		time.Sleep(2 * time.Second)
		want := bus.RequestStats{Replied: 2, Refused: 2, NoConsumer: 2, Busy: 1, TimedOut: 1, Canceled: 1}
		if s := p.from.Stats(); s.Requests != want || s.Requested != 6 || s.Requests.Ended() != 9 {
			t.Errorf("got %+v of %d, want %+v", s.Requests, s.Requested, want)
		}
		if s := p.to.Stats(); s.FailedRequests != 2 || s.Failed != 0 {
			t.Errorf("failed: %d requests, %d others", s.FailedRequests, s.Failed)
		}
		if a := of(p.from, "a").Requests; a.Replied != 2 || a.Refused != 2 || a.TimedOut != 1 || a.Canceled != 1 {
			t.Errorf("at the address: %+v", a)
		}
		if a := of(p.from, "").Requests; a.NoConsumer != 2 {
			t.Errorf("at none: %+v", a)
		}
		full.Close()
		atRest(t, p.from, p.to)
		if a := of(p.from, "").Requests; a.Busy != 1 {
			t.Errorf("of the address that is forgotten: %+v", a)
		}
	})
}

// TestRequestsByLinkLost: a request whose link ends counts, once, however often it was
// given to another consumer.
func TestRequestsByLinkLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		consume(t, c.Bus(1), "a", func(ctx context.Context, _ *bus.Message) error { <-ctx.Done(); return nil })
		var ends []error
		done := make(chan struct{})
		for _, opts := range [][]bus.CallOption{nil, {bus.Idempotent()}} {
			go func() {
				_, err := c.Bus(0).Request(t.Context(), "a", nil, opts...)
				ends = append(ends, err)
				done <- struct{}{}
			}()
			synctest.Wait()
			c.Break(0, 1)
			<-done
			c.Link(0, 1)
		}
		if s := c.Bus(0).Stats(); s.Requests.LinkLost != 1 || s.Requests.NoConsumer != 1 || s.Requests.Ended() != 2 {
			t.Errorf("%+v, of the errors %v", s.Requests, ends)
		}
		atRest(t, c.Bus(0), c.Bus(1))
	})
}

// TestSentByKindAndWay: what is sent, published and requested is told apart, and so is
// what stays on the node.
func TestSentByKindAndWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		for i := range 2 {
			consume(t, c.Bus(i), "a", nothing)
		}
		for range 4 {
			send(t, c.Bus(0), "a", "x")
			c.Bus(0).Request(t.Context(), "a", nil)
			c.Bus(0).Publish(t.Context(), "a", nil)
		}
		c.Bus(0).Publish(t.Context(), "a", make([]byte, 1<<20))
		c.Bus(0).Request(t.Context(), "a", make([]byte, 1<<20))
		atRest(t, c.Bus(0), c.Bus(1))
		s := of(c.Bus(0), "a").Stats
		if s.Sent != 4+5+10 || s.Requested != 5 || s.Published != 10 || s.SentLocal < 9 || s.SentLocal > 10 {
			t.Errorf("%+v", s)
		}
		c.Break(0, 1) // what had gone there stays counted
		if after := of(c.Bus(0), "a").Stats; after.Sent != s.Sent || after.SentLocal != s.SentLocal || c.Bus(0).Stats().Sent != s.Sent {
			t.Errorf("before %+v, after the link %+v", s, after)
		}
	})
}
