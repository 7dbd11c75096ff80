package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// hearer counts publishes, and fails the test if anything else comes.
func hearer(t *testing.T) (*atomic.Int32, bus.HandlerFunc) {
	n := new(atomic.Int32)
	return n, func(_ context.Context, m *bus.Message) error {
		if m.Verb() != bus.VerbPublish {
			t.Errorf("a consumer that hears publishes only got a %s", m.Verb())
		}
		n.Add(1)
		return nil
	}
}

// A consumer that is PublishedOnly hears each publish, of any size, and takes no turn.
func TestPublishedOnly(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		heard, handler := hearer(t)
		consume(t, p.to, "a", handler, bus.PublishedOnly())
		var all atomic.Int32
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			all.Add(1)
			return nil
		})
		for range 10 {
			for _, size := range []int{0, 100, 100 << 10} {
				body := make([]byte, size)
				if err := p.from.Send(t.Context(), "a", body); err != nil {
					t.Fatal(err)
				}
				if _, err := p.from.Request(t.Context(), "a", body); err != nil {
					t.Fatal(err)
				}
				if replies, err := p.from.RequestAll(t.Context(), "a", body); err != nil || len(replies) != 1 {
					t.Fatalf("%d replies, %v", len(replies), err)
				}
				if err := p.from.Publish(t.Context(), "a", body); err != nil {
					t.Fatal(err)
				}
			}
		}
		atRest(t, p.from, p.to)
		if heard.Load() != 30 || all.Load() != 120 {
			t.Errorf("one heard %d of 30 publishes, the other got %d of 120 messages", heard.Load(), all.Load())
		}
	})
}

// Where all consumers are PublishedOnly nobody takes what is sent, and the error says so.
func TestPublishedOnlyTakesNoSend(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		heard, handler := hearer(t)
		consume(t, p.to, "a", handler, bus.PublishedOnly())
		for name, call := range map[string]func() error{
			"Send":       func() error { return p.from.Send(t.Context(), "a", nil) },
			"SendByKey":  func() error { return p.from.Send(t.Context(), "a", nil, bus.ByKey("k")) },
			"LocalFirst": func() error { return p.from.Send(t.Context(), "a", nil, bus.LocalFirst()) },
			"Request":    func() error { _, err := p.from.Request(t.Context(), "a", nil); return err },
			"RequestAll": func() error { _, err := p.from.RequestAll(t.Context(), "a", nil); return err },
		} {
			if err := call(); !errors.Is(err, bus.ErrNoConsumer) || !strings.Contains(err.Error(), "hear publishes only (PublishedOnly): 1") {
				t.Errorf("%s: %v", name, err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.from.Await(ctx, "a"); !errors.Is(err, bus.ErrNoConsumer) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Await: %v", err)
		}
		done := make(chan error, 2)
		go func() { done <- p.from.Await(t.Context(), "a") }()
		go func() { done <- p.from.Send(t.Context(), "a", nil, bus.Await()) }()
		synctest.Wait()
		if len(done) > 0 {
			t.Fatalf("it waited for no consumer that takes sends: %v", <-done)
		}
		consume(t, p.to, "a", nothing)
		for range 2 {
			if err := receive(t, done); err != nil {
				t.Error(err)
			}
		}
		if err := p.from.Publish(t.Context(), "a", nil); err != nil {
			t.Error(err)
		}
		atRest(t, p.from, p.to)
		if heard.Load() != 1 {
			t.Errorf("it heard %d publishes, not 1", heard.Load())
		}
	})
}

// Keys are shared out among the consumers that take turns, and the number of those that
// take none does not matter.
func TestPublishedOnlyOwnsNoKey(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		_, handler := hearer(t)
		var open []*bus.Consumer
		for range 100 {
			open = append(open, consume(t, p.to, "a", handler, bus.PublishedOnly()))
		}
		consume(t, p.to, "a", nothing)
		for i := range 200 {
			if i%2 == 0 { // nor does one that goes hold any
				open[i/2].Close()
			}
			if err := p.from.Send(t.Context(), "a", nil, bus.ByKey(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		atRest(t, p.from, p.to)
	})
}

// A consumer that is PublishedOnly and lags is skipped as any other, and hears again what
// is published when it has caught up; closed, it hears nothing.
func TestPublishedOnlyThatLags(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		heard, handler := hearer(t)
		c := consume(t, p.to, "a", handler, bus.PublishedOnly(), bus.WithWindow(1<<10))
		c.Pause()
		publish := func(n int) {
			t.Helper()
			for range n {
				if err := p.from.Publish(t.Context(), "a", make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
			}
		}
		publish(100)
		if skipped := p.from.Stats().Skipped; skipped != 95 {
			t.Errorf("%d publishes were skipped, not 95", skipped)
		}
		c.Resume()
		atRest(t, p.from, p.to)
		if heard.Load() != 5 {
			t.Errorf("it heard %d of those that had room, not 5", heard.Load())
		}
		publish(1)
		atRest(t, p.from, p.to)
		c.Close()
		synctest.Wait()
		publish(1)
		atRest(t, p.from, p.to)
		if heard.Load() != 6 {
			t.Errorf("it heard %d, not 6", heard.Load())
		}
		wantGone(t, p.from, "a")
	})
}

func wantGone(t *testing.T, eb *bus.EventBus, address string) {
	t.Helper()
	for _, a := range eb.Addresses() {
		if a.Address == address {
			t.Errorf("the address is not forgotten: %+v", a)
		}
	}
}

// Options of a consumer go together with PublishedOnly, on its own node and beside others.
func TestPublishedOnlyOnThisNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		heard, handler := hearer(t)
		consume(t, c.Bus(0), "a", handler, bus.PublishedOnly(), bus.LocalOnly())
		consume(t, c.Bus(1), "a", handler, bus.PublishedOnly(), bus.WithConcurrency(4))
		synctest.Wait()
		for i, want := range []int32{2, 3, 4} { // by both; by n1's own; by n0's own
			var err error
			switch i {
			case 0:
				err = c.Bus(0).Publish(t.Context(), "a", nil)
			case 1:
				err = c.Bus(1).Publish(t.Context(), "a", nil)
			case 2:
				err = c.Bus(0).Publish(t.Context(), "a", nil, bus.LocalOnly())
			}
			if atRest(t, c.Bus(0), c.Bus(1)); err != nil || heard.Load() != want {
				t.Errorf("publish %d: %d were heard, not %d: %v", i, heard.Load(), want, err)
			}
		}
		if a := of(c.Bus(0), "a"); a.Consumers != 2 || a.Local != 1 || a.PublishedOnly != 2 {
			t.Errorf("%+v", a)
		}
		if a := of(c.Bus(1), "a"); a.Consumers != 1 || a.Local != 1 || a.PublishedOnly != 1 {
			t.Errorf("%+v", a)
		}
	})
}

// What is sent back by a node that leaves waits for a consumer that takes it, whoever
// hears publishes of the address.
func TestPublishedOnlyIsGivenNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		_, handler := hearer(t)
		for i := range 3 {
			consume(t, c.Bus(i), "a", handler, bus.PublishedOnly())
		}
		consume(t, c.Bus(1), "a", nothing).Pause()
		synctest.Wait()
		if err := c.Bus(0).Send(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Bus(1).Close(); err != nil {
			t.Fatal(err)
		}
		if a := of(c.Bus(0), "a"); a.Waiting != 1 {
			t.Errorf("%+v", a)
		}
		var got atomic.Int32
		consume(t, c.Bus(2), "a", func(context.Context, *bus.Message) error { got.Add(1); return nil })
		atRest(t, c.Bus(0), c.Bus(2))
		if got.Load() != 1 {
			t.Error("what was sent back is lost")
		}
	})
}

// A peer's route that is said to get publishes only takes no turn; and a peer that sends
// to one of this node's loses the link.
func TestPublishedOnlyOnTheWire(t *testing.T) {
	for name, c := range map[string]struct {
		frames []*wire.Frame
		want   string
	}{
		"publish": {frames: []*wire.Frame{msgFrame(&wire.Msg{Kind: 3, Route: 1, TimeLeft: 1000})}},
		"send":    {[]*wire.Frame{msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 1000})}, "message of kind 1 for route 1, which takes only what is published"},
		"request": {[]*wire.Frame{msgFrame(&wire.Msg{Kind: 2, Route: 1, Id: 1 << 24, TimeLeft: 1000})}, "message of kind 2 for route 1"},
		"large":   {[]*wire.Frame{{Kind: &wire.Frame_Bulk{Bulk: &wire.Bulk{Id: 1, Size: 100 << 10, Frame: 1, Fields: []byte{1 << 3, 1, 2 << 3, 1, 4 << 3, 100}}}}}, "message of kind 1 for route 1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := playPeer(t)
				heard, handler := hearer(t)
				if _, err := p.eb.Consume("in", handler, bus.PublishedOnly()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				p.say(routesFrame(1, true, nil, &wire.Routes_Added{Number: 1, Address: "out", Window: 1 << 10, Published: true}), ackFrame(2))
				if err := p.eb.Send(t.Context(), "out", nil); !errors.Is(err, bus.ErrNoConsumer) {
					t.Errorf("sent to a route that gets publishes only: %v", err)
				}
				if err := p.eb.Publish(t.Context(), "out", nil); err != nil || of(p.eb, "out").Unsettled != 1 {
					t.Errorf("published to %+v: %v", of(p.eb, "out"), err)
				}
				p.say(c.frames...)
				if c.want == "" {
					if len(p.eb.Peers()) != 1 || heard.Load() != 1 {
						t.Errorf("%d publishes were heard", heard.Load())
					}
					return
				}
				p.CloseWrite()
				if err := <-p.ended; err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("the link ended with %v", err)
				}
			})
		})
	}
}
