package bus_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// An address that cannot be told to other nodes is refused at once; it does
// not cost the links.
func TestAddressNotUTF8(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		if _, err := c.Bus(1).Consume("\xff", bus.HandlerFunc(nothing)); err == nil {
			t.Error("Consume took an address that is not UTF-8")
		}
		time.Sleep(time.Second)
		if len(c.Bus(0).Peers()) != 1 {
			t.Error("the link has ended")
		}
	})
}

// What comes late and was never missed does not count.
func TestGossipMissed(t *testing.T) {
	eb := bus.New(quiet)
	defer eb.Close()
	links, err := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{5, 4} {
		b, err := proto.Marshal(&wire.Gossip{Boot: 2, Seq: seq, Sent: math.MaxInt64, Address: "a"})
		if err != nil {
			t.Fatal(err)
		}
		links.Receive(b)
	}
	if n := eb.Stats().Gossip.Missed; n != 0 {
		t.Errorf("%d missed", n)
	}
}

// A bounce of what was never sent is a protocol error that changes nothing.
func TestForgedBounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		links, err := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		if _, err := eb.Consume("out", bus.HandlerFunc(func(context.Context, *bus.Message) error { n++; return nil })); err != nil {
			t.Fatal(err)
		}
		ours, theirs := bustest.Pipe()
		defer theirs.Close()
		if _, err := theirs.Write(stream(t, routesFrame(1, true, nil, &wire.Routes_Added{Number: 1, Address: "out", Window: 1 << 10}),
			bounceFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 1000, Hops: 1}))); err != nil {
			t.Fatal(err)
		}
		if err := links.Serve(t.Context(), bus.Peer{Name: "n1", Boot: 2}, ours, nil); err == nil {
			t.Error("the link went on")
		}
		synctest.Wait()
		if s := eb.Stats(); n > 0 || s.Sent != s.Settled+s.Bounced+s.Unknown {
			t.Errorf("%d handled; %+v", n, s)
		}
	})
}

// A body over the limit ends the link that it comes on.
func TestReceivedTooLarge(t *testing.T) {
	headers := func(n int, k, v string) (hs []*wire.Header) {
		for range n {
			hs = append(hs, &wire.Header{Key: k, Value: v})
		}
		return hs
	}
	for name, m := range map[string]*wire.Msg{
		"body":    {Body: make([]byte, 64<<10+1)},
		"headers": {Headers: headers(2, "k", string(bytes.Repeat([]byte("v"), 9000)))},
		"number":  {Headers: headers(1025, "", "")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				eb := bus.New(quiet)
				defer eb.Close()
				links, err := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				if _, err := eb.Consume("in", bus.HandlerFunc(func(context.Context, *bus.Message) error { n++; return nil })); err != nil {
					t.Fatal(err)
				}
				ours, theirs := bustest.Pipe()
				defer theirs.Close()
				go links.Serve(t.Context(), bus.Peer{Name: "n1", Boot: 2}, ours, nil)
				synctest.Wait()
				m.Kind, m.Route, m.TimeLeft = 1, 1, 1000
				if _, err := theirs.Write(stream(t, msgFrame(m))); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if n > 0 {
					t.Errorf("%d handled", n)
				}
			})
		})
	}
}

// ROUTES that remove a route and then break a rule leave no ghost behind.
func TestBadRoutesLeaveNoGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		links, err := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := bustest.Pipe()
		defer theirs.Close()
		if _, err := theirs.Write(stream(t, routesFrame(1, true, nil, &wire.Routes_Added{Number: 1, Address: "out", Window: 1 << 10}),
			routesFrame(2, false, []uint32{1}, &wire.Routes_Added{Number: 2, Address: "", Window: 1 << 10}))); err != nil {
			t.Fatal(err)
		}
		if err := links.Serve(t.Context(), bus.Peer{Name: "n1", Boot: 2}, ours, nil); err == nil {
			t.Error("the link went on")
		}
		if err := eb.Send(t.Context(), "out", nil); !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("after the link has ended: %v", err)
		}
	})
}

// A handler that gives up at the deadline does not hide from the requester
// that it was the deadline.
func TestDeadlineIsTheRequesters(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		p.consume(t, "slow", bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		for i := range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := p.from.Request(ctx, "slow", nil)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("request %d: %v", i, err)
			}
		}
	})
}

// A consumer with concurrency takes a message while its handler is busy with
// one that came before.
func TestConcurrencyLater(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		began, block := make(chan struct{}), make(chan struct{})
		defer close(block)
		p.consume(t, "a", bus.HandlerFunc(func(context.Context, *bus.Message) error {
			began <- struct{}{}
			<-block
			return nil
		}), bus.WithConcurrency(3))
		for range 3 {
			if err := p.from.Send(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
			receive(t, began)
		}
	})
}
