package bus_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// What a peer says that asks: a question is known by its id, its answer goes on
// the same link, a late one is answered at once, and its cancellation is heeded.
func TestQuestionsOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		reply := func(r *wire.Reply) *wire.Frame { return &wire.Frame{Kind: &wire.Frame_Reply{Reply: r}} }
		heard := make([]byte, 4<<10)
		read := func() []byte {
			n, err := p.Read(heard)
			if err != nil {
				t.Fatal(err)
			}
			return heard[:n]
		}
		p.say(routesFrame(1, true, nil, out(1, 1<<10)))
		type result struct {
			m   *bus.Message
			err error
		}
		got := make(chan result, 1)
		request := func() uint64 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			go func() { defer cancel(); m, err := p.eb.Request(ctx, "out", nil); got <- result{m, err} }()
			synctest.Wait()
			return 1 << 24
		}
		id := request()
		read()
		p.say(reply(&wire.Reply{Id: id, Ask: 77, TimeLeft: 5000, Body: []byte("which?")}))
		q := receive(t, got)
		if q.err != nil || !q.m.WantsReply() || string(q.m.Body) != "which?" {
			t.Fatalf("%+v", q)
		}
		if err := q.m.Reply(t.Context(), []byte("red")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if b := read(); !bytes.Contains(b, stream(t, reply(&wire.Reply{Id: 77, Body: []byte("red")}))) {
			t.Errorf("the answer is %x", b)
		}

		p.say(reply(&wire.Reply{Id: id, Ask: 78, TimeLeft: 5000})) // the request has ended
		late := stream(t, reply(&wire.Reply{Id: 78, Failed: 1, Code: bus.CodeUnanswered, Body: []byte("the requester has given up")}))
		if b := read(); !bytes.Contains(b, late) {
			t.Errorf("a late question is answered with %x", b)
		}

		id = request() + 1<<24 // the next generation of its slot
		read()
		p.say(reply(&wire.Reply{Id: id, Ask: 79, TimeLeft: 5000}), &wire.Frame{Kind: &wire.Frame_Cancel{Cancel: &wire.Cancel{Id: 79}}})
		q = receive(t, got)
		if q.err != nil {
			t.Fatal(q.err)
		}
		if err := q.m.Reply(t.Context(), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("a question that was given up: %v", err)
		}
		p.say(&wire.Frame{Kind: &wire.Frame_Cancel{Cancel: &wire.Cancel{Id: 80}}}, pingFrame) // of nothing
		if len(p.eb.Peers()) != 1 {
			t.Error("the link has ended")
		}
		p.Reset()
	})
}

// A question leaves with its time left, and one whose asker gives up is canceled.
func TestQuestionsTimeLeftOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		if _, err := p.eb.Consume("in", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
			_, err := m.Request(ctx, []byte("which?"))
			return err
		})); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.say(routesFrame(1, true, nil), ackFrame(1), msgFrame(&wire.Msg{Kind: 2, Route: 1, Id: 5, TimeLeft: 60_000}))
		cancel()
		synctest.Wait()
		heard := make([]byte, 4<<10)
		n, _ := p.Read(heard)
		want := stream(t, &wire.Frame{Kind: &wire.Frame_Reply{Reply: &wire.Reply{Id: 5, Ask: 1 << 24, TimeLeft: 7000, Body: []byte("which?")}}},
			&wire.Frame{Kind: &wire.Frame_Cancel{Cancel: &wire.Cancel{Id: 1 << 24}}})
		if !bytes.Contains(heard[:n], want) {
			t.Errorf("the peer reads %x, without %x", heard[:n], want)
		}
		p.Reset()
	})
}
