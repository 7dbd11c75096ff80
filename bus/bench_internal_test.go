package bus

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

func benchFrame() (h frame.Head, body []byte) {
	return frame.Head{frame.FKind: kindSend, frame.FRoute: 300, frame.FTimeLeft: 30000, frame.FCodec: codecJSON}, make([]byte, 128)
}

// BenchmarkRoutePick is one pick among ten routes of a link, with credit always
// there; posting to the link's buffer is part of it.
func BenchmarkRoutePick(b *testing.B) {
	l, r := benchRoutes(10)
	h, body := benchFrame()
	o := outgoing{head: h, body: body, owned: true, cost: messageCost + 128}
	b.ReportAllocs()
	for b.Loop() {
		rt, _ := r.try(&o, reach{all: r.routes.Load()})
		if rt == nil {
			b.Fatal("no route")
		}
		rt.settle(o.cost, 1)
		l.buf = l.buf[:0]
	}
}

// benchRoutes returns a ring with n routes of a link that nobody serves.
func benchRoutes(n int) (*link, *ring) {
	c := newCore(config{})
	l := c.newLink(Peer{Boot: 2}, nil, nil)
	r := newRing(c.services, &c.rings, "a")
	for i := range n {
		c.rings.addRoute(&route{home: &r.home, to: l, num: uint32(i + 1), window: defaultWindow})
	}
	return l, r
}

func BenchmarkMailbox(b *testing.B) {
	c := &Consumer{node: &newCore(config{}).own, concurrency: 1}
	in := &inbound{consumer: c, of: &inbounds{}}
	ms := make([]Message, 16)
	for i := range ms {
		ms[i].in = in.from()
	}
	c.openLocked()
	c.box.workers = 1
	b.ReportAllocs()
	for b.Loop() {
		if c.box.begin() == nil {
			c.mu.Lock()
			c.ranLocked(nil)
			c.putLocked(ms)
			c.pickLocked(-1)
			c.mu.Unlock()
		}
	}
}

func BenchmarkLocalSend(b *testing.B) {
	eb := newQuiet(b)
	mustConsume(b, eb, "a", func(context.Context, *Message) error { return nil })
	benchSend(b, eb)
}

func benchSend(b *testing.B, eb *EventBus) {
	ctx, body := context.Background(), make([]byte, 128)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := eb.Send(ctx, "a", body); err != nil {
			b.Fatal(err)
		}
	}
	// The last one is handled when a request behind it is.
	if _, err := eb.Request(ctx, "a", nil); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLocalPublish is a publish to so many consumers of this node.
func BenchmarkLocalPublish(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			eb := newQuiet(b)
			for range n {
				mustConsume(b, eb, "a", func(context.Context, *Message) error { return nil })
			}
			benchPublish(b, eb)
		})
	}
}

func BenchmarkLocalRequest(b *testing.B) {
	eb := newQuiet(b)
	mustConsume(b, eb, "a", func(ctx context.Context, m *Message) error { return m.Reply(ctx, m.Body) })
	benchRequest(b, eb)
}

func benchRequest(b *testing.B, eb *EventBus) {
	ctx, body := context.Background(), make([]byte, 128)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := eb.Request(ctx, "a", body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLinkSend(b *testing.B) {
	from, to := loopback(b)
	known(b, mustConsume(b, to, "a", func(context.Context, *Message) error { return nil }))
	benchSend(b, from)
}

// BenchmarkLinkPublish is a publish to one consumer on another node.
func BenchmarkLinkPublish(b *testing.B) {
	from, to := loopback(b)
	known(b, mustConsume(b, to, "a", func(context.Context, *Message) error { return nil }))
	benchPublish(b, from)
}

func benchPublish(b *testing.B, eb *EventBus) {
	ctx, body := context.Background(), make([]byte, 128)
	b.ReportAllocs()
	for b.Loop() {
		if err := eb.Publish(ctx, "a", body); err != nil {
			b.Fatal(err)
		}
	}
	// The last one is handled when a request behind it is.
	if _, err := eb.Request(ctx, "a", nil); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkLinkRequest(b *testing.B) {
	from, to := loopback(b)
	known(b, mustConsume(b, to, "a", func(ctx context.Context, m *Message) error { return m.Reply(ctx, m.Body) }))
	benchRequest(b, from)
}

// BenchmarkLinkRequest64 is 64 callers over one link, whose requests have no deadline of
// their own, one each by Within, or one each by their contexts.
func BenchmarkLinkRequest64(b *testing.B) {
	ctx := context.Background()
	minute := Within(time.Minute)
	for name, ask := range map[string]func(eb *EventBus, body []byte) error{
		"plain": func(eb *EventBus, body []byte) error {
			_, err := eb.Request(ctx, "a", body)
			return err
		},
		"within": func(eb *EventBus, body []byte) error {
			_, err := eb.Request(ctx, "a", body, minute)
			return err
		},
		"context": func(eb *EventBus, body []byte) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			_, err := eb.Request(ctx, "a", body)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) { benchCallers(b, 64, ask) })
	}
}

func benchCallers(b *testing.B, callers int, ask func(eb *EventBus, body []byte) error) {
	from, to := loopback(b)
	known(b, mustConsume(b, to, "a", func(ctx context.Context, m *Message) error { return m.Reply(ctx, m.Body) }))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			body := make([]byte, 128)
			for n := i; n < b.N; n += callers {
				if err := ask(from, body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func known(tb testing.TB, c *Consumer) {
	tb.Helper()
	if err := c.Known(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// loopback returns two buses that are linked over TCP.
func loopback(tb testing.TB) (a, b *EventBus) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	var served sync.WaitGroup
	tb.Cleanup(served.Wait) // after the buses are closed
	a, b = newQuiet(tb), newQuiet(tb)
	join := func(eb *EventBus, self, peer Peer, conn net.Conn) <-chan struct{} {
		attachment, err := eb.Attach(self, nil)
		if err != nil {
			tb.Fatal(err)
		}
		up := make(chan struct{})
		served.Go(func() { _ = attachment.ServeLink(context.Background(), peer, conn, func() { close(up) }) })
		return up
	}
	n0, n1 := Peer{Name: "n0", Boot: 1}, Peer{Name: "n1", Boot: 2}
	upA, upB := join(a, n0, n1, dialled), join(b, n1, n0, accepted)
	<-upA
	<-upB
	return a, b
}
