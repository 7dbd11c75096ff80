package bus_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

const lateSize = 200 << 10 // of the bodies here, in four chunks

// frames for bodies of a peer's, and of its answers.
func bulkOf(t *testing.T, frame uint32, m proto.Message) *wire.Frame {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return &wire.Frame{Kind: &wire.Frame_Bulk{Bulk: &wire.Bulk{Id: 1, Size: lateSize, Frame: frame, Fields: b}}}
}

func quarter() *wire.Frame { return chunkFrame(1, make([]byte, lateSize/4)) }

// settledCredit and takenBack look for what a bus says.
func settledCredit(f *wire.Frame) bool { return f.GetCredit().GetMessages() > 0 }
func takenBack(f *wire.Frame) bool     { return f.GetBulkReset() != nil && f.GetBulkReset().Refused == 0 }
func refusedAsLate(f *wire.Frame) bool { return f.GetBulkReset().GetRefused() == 2 }

// hears waits until the bus says something, and fails if it does not. What it has
// said before is forgotten.
func (p *playedPeer) hears(what string, is func(*wire.Frame) bool) *wire.Frame {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); p.said = p.heard() { // pings come too
		if i := slices.IndexFunc(p.said, is); i >= 0 {
			f := p.said[i]
			p.said = p.said[i+1:]
			return f
		}
	}
	p.t.Fatalf("the bus has not said %s", what)
	return nil
}

// lives checks that nothing of a large body is left but its link.
func (p *playedPeer) lives() {
	p.t.Helper()
	synctest.Wait()
	select {
	case err := <-p.ended:
		p.t.Errorf("the link has ended: %v", err)
	default:
	}
	if n := bus.Assembling(p.eb); n != 0 {
		p.t.Errorf("%d bytes are reserved for bodies", n)
	}
	if s := p.eb.Stats(); s.Sent != s.Settled+s.Bounced+s.Unknown {
		p.t.Errorf("%+v", s)
	}
	addUp(p.t, p.eb)
}

// late runs a test with a consumer "in" of a bus, which the peer knows as number
// 1, and one "out" of the peer's.
func late(t *testing.T, h bus.HandlerFunc, test func(p *playedPeer, cn *bus.Consumer)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := playPeerOver(t, wide)
		cn, err := p.eb.Consume("in", h, bus.WithWindow(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		p.say(routesFrame(1, true, nil, out(1, 1<<20)), ackFrame(1))
		p.say(ackFrame(2))
		p.heard()
		test(p, cn)
	})
}

// A large body that is not all there at its deadline is thrown away: its memory is
// free, its sender is told, and what still comes of it is skipped.
func TestLateMessageLosesItsBody(t *testing.T) {
	late(t, func(context.Context, *bus.Message) error { t.Error("handled"); return nil }, func(p *playedPeer, _ *bus.Consumer) {
		p.say(bulkOf(t, 1, &wire.Msg{Kind: 1, Route: 1, TimeLeft: 1000}), quarter(), quarter())
		time.Sleep(time.Second + time.Millisecond)
		if n := bus.Assembling(p.eb); n != 0 {
			t.Errorf("at its deadline %d bytes are reserved for it", n)
		}
		p.hears("that the body is late", refusedAsLate)
		p.say(quarter(), quarter())
		p.hears("that the message is settled", settledCredit)
		if s := p.eb.Stats(); s.Expired != 1 {
			t.Errorf("%d have expired", s.Expired)
		}
		p.lives()
	})
}

// The same of one that is taken back: nothing has come.
func TestLateMessageIsTakenBack(t *testing.T) {
	late(t, nothing, func(p *playedPeer, _ *bus.Consumer) {
		p.say(bulkOf(t, 1, &wire.Msg{Kind: 1, Route: 1, TimeLeft: 1000}), quarter())
		p.hears("that the body is late", refusedAsLate)
		p.say(quarter(), &wire.Frame{Kind: &wire.Frame_BulkReset{BulkReset: &wire.Chunk{Id: 1}}})
		if s := p.eb.Stats(); s.Expired != 0 {
			t.Errorf("%d have expired", s.Expired)
		}
		p.lives()
	})
}

// A large reply that is not all there at the deadline of its request is thrown
// away, and counted.
func TestLateReplyLosesItsBody(t *testing.T) {
	late(t, nothing, func(p *playedPeer, _ *bus.Consumer) {
		asked := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := p.eb.Request(ctx, "out", nil)
			asked <- err
		}()
		m := p.hears("a request", func(f *wire.Frame) bool { return f.GetMsg() != nil }).GetMsg()
		p.say(bulkOf(t, 2, &wire.Reply{Id: m.Id}), quarter(), quarter())
		if err := <-asked; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the request: %v", err)
		}
		time.Sleep(time.Second)
		p.say(quarter(), quarter())
		p.say(&wire.Frame{Kind: &wire.Frame_Credit{Credit: &wire.Credit{Route: 1, Bytes: 128, Messages: 1}}})
		if s := p.eb.Stats(); s.LateReplies != 1 {
			t.Errorf("%d replies were late", s.LateReplies)
		}
		p.lives()
	})
}

// A large body that comes back too late is a dead letter, and its message settled.
func TestLateBounceLosesItsBody(t *testing.T) {
	late(t, nothing, func(p *playedPeer, _ *bus.Consumer) {
		sent := make(chan error, 1)
		go func() { sent <- p.eb.Send(context.Background(), "out", make([]byte, lateSize)) }()
		p.hears("a large message", func(f *wire.Frame) bool { return f.GetBulk() != nil })
		p.say(&wire.Frame{Kind: &wire.Frame_BulkGo{BulkGo: &wire.Chunk{Id: 1}}})
		for n := 0; n < lateSize; {
			f := p.hears("a chunk", func(f *wire.Frame) bool { return f.GetChunk() != nil })
			n += len(f.GetChunk().Data)
			p.say(&wire.Frame{Kind: &wire.Frame_ChunkAck{ChunkAck: &wire.Chunk{Id: 1, Bytes: uint64(len(f.GetChunk().Data))}}})
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		p.say(routesFrame(2, false, []uint32{1}), bulkOf(t, 8, &wire.Msg{Kind: 1, Route: 1, TimeLeft: 1000, Hops: 1}), quarter(), quarter())
		time.Sleep(2 * time.Second)
		p.say(quarter(), quarter())
		if s := p.eb.Stats(); s.DeadLetters != 1 || s.Bounced != 1 {
			t.Errorf("%d dead letters, %d bounced", s.DeadLetters, s.Bounced)
		}
		p.lives()
	})
}

// Credit for a large message that is still being sent is a protocol error.
func TestForgedCreditForLargeMessage(t *testing.T) {
	late(t, nothing, func(p *playedPeer, _ *bus.Consumer) {
		sent := make(chan error, 1)
		go func() { sent <- p.eb.Send(context.Background(), "out", make([]byte, lateSize)) }()
		synctest.Wait()
		p.say(&wire.Frame{Kind: &wire.Frame_Credit{Credit: &wire.Credit{Route: 1, Bytes: lateSize + 128, Messages: 1}}})
		if err := <-p.ended; err == nil {
			t.Error("the link went on")
		}
		if err := <-sent; err == nil {
			t.Error("the message was sent")
		}
		if s := p.eb.Stats(); s.Sent != s.Settled+s.Bounced+s.Unknown {
			t.Errorf("%+v", s)
		}
	})
}

// A large reply is taken back at the deadline of its request, whatever the context
// that it is given with.
func TestLargeReplyIsTakenBackAtTheDeadline(t *testing.T) {
	var replied chan error
	late(t, func(_ context.Context, m *bus.Message) error {
		replied <- m.Reply(context.Background(), make([]byte, lateSize))
		return nil
	}, func(p *playedPeer, _ *bus.Consumer) {
		replied = make(chan error, 1)
		p.say(msgFrame(&wire.Msg{Kind: 2, Route: 1, Id: 5, TimeLeft: 1000}))
		p.hears("that a body is taken back", takenBack)
		if err := <-replied; err != nil { // it did not wait for that
			t.Errorf("Reply: %v", err)
		}
		p.lives()
	})
}

// A large reply that was taken back does not make the next one's giver go on at once,
// as those do whose link has a slow one under way.
func TestLargeReplyAfterOneThatWasTakenBack(t *testing.T) {
	var took chan time.Duration
	late(t, func(_ context.Context, m *bus.Message) error {
		begin := time.Now()
		err := m.Reply(context.Background(), make([]byte, lateSize))
		took <- time.Since(begin)
		return err
	}, func(p *playedPeer, _ *bus.Consumer) {
		took = make(chan time.Duration, 1)
		for id := range uint64(2) {
			p.say(msgFrame(&wire.Msg{Kind: 2, Route: 1, Id: 5 + id, TimeLeft: 1000}))
			p.hears("that a body is taken back", takenBack)
			if d := <-took; d != 100*time.Millisecond {
				t.Errorf("the giver of reply %d waited for %v", id+1, d)
			}
		}
		p.lives()
	})
}

// A large message that waited at a consumer is sent back until its deadline only:
// it is settled then, and counted, and what is behind it goes on.
func TestLargeBounceIsTakenBackAtTheDeadline(t *testing.T) {
	var block chan struct{}
	late(t, growing(func(context.Context, *bus.Message) error { <-block; return nil }), func(p *playedPeer, cn *bus.Consumer) {
		block = make(chan struct{})
		p.grow()
		p.say(msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 60000}))
		p.say(bulkOf(t, 1, &wire.Msg{Kind: 1, Route: 1, TimeLeft: 2000}), quarter(), quarter(), quarter(), quarter())
		p.say(msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 60000, Body: []byte("behind")}))
		cn.Close()
		synctest.Wait()
		p.say(ackFrame(3))
		p.hears("that a body is taken back", takenBack) // it was asked for, and not granted
		p.hears("the message behind it", func(f *wire.Frame) bool { return string(f.GetBounce().GetBody()) == "behind" })
		p.hears("that none comes back any more", func(f *wire.Frame) bool { return f.GetRoutesDone() != nil })
		close(block)
		synctest.Wait()
		time.Sleep(time.Second)
		if s := p.eb.Stats(); s.Expired != 1 {
			t.Errorf("%d have expired", s.Expired)
		}
		if n := bus.NumbersOf(p.eb); n != 0 {
			t.Errorf("%d numbers are in use", n)
		}
		p.lives()
	})
}
