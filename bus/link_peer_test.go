package bus_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// playedPeer is node n1, which the test plays, and n0, a bus linked with it.
type playedPeer struct {
	*bustest.Conn // n1's end of the link
	t             *testing.T
	eb            *bus.EventBus
	attachment    *bus.Attachment
	ended         <-chan error // what n0's ServeLink returned
	supersede     func()
	said          []*wire.Frame // and not looked at: see hears
}

// playPeer links a bus with a peer that the test plays, in a bubble. Both are
// gone when the test ends.
func playPeer(t *testing.T, opts ...bus.Option) *playedPeer {
	t.Helper()
	return playPeerOver(t, nil, opts...)
}

// playPeerOver is playPeer over a pipe with options.
func playPeerOver(t *testing.T, pipe []bustest.PipeOption, opts ...bus.Option) *playedPeer {
	t.Helper()
	eb := bus.New(append([]bus.Option{quiet}, opts...)...)
	t.Cleanup(func() { eb.Close() })
	attachment, err := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := bustest.Pipe(pipe...)
	t.Cleanup(func() { theirs.Close() })
	ctx, supersede := context.WithCancel(context.Background())
	t.Cleanup(supersede)
	ended := make(chan error, 1)
	go func() { ended <- attachment.ServeLink(ctx, bus.Peer{Name: "n1", Boot: 2}, ours, nil) }() // ends with the pipe
	synctest.Wait()
	return &playedPeer{theirs, t, eb, attachment, ended, supersede, nil}
}

// say sends frames, and waits until the bus has nothing to do any more.
func (p *playedPeer) say(frames ...*wire.Frame) {
	p.t.Helper()
	if _, err := p.Write(stream(p.t, frames...)); err != nil {
		p.t.Fatal(err)
	}
	synctest.Wait()
}

// growSize is the size of what grow sends.
const growSize = 60 << 10

// grow makes the window of route 1, whose consumer keeps up, 1 MiB.
func (p *playedPeer) grow() {
	p.t.Helper()
	for range 20 {
		p.say(msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 60000, Starved: true, Body: make([]byte, growSize)}))
	}
}

// growing is a handler that returns at once from what grow sends.
func growing(h bus.HandlerFunc) bus.HandlerFunc {
	return func(ctx context.Context, m *bus.Message) error {
		if len(m.Body) == growSize {
			return nil
		}
		return h(ctx, m)
	}
}

// out is a consumer of the peer at the address "out".
func out(number uint32, window uint64) *wire.Routes_Added {
	return &wire.Routes_Added{Number: number, Address: "out", Window: window}
}

// A superseded link still brings removals, bounces and GOODBYE.
func TestSupersededLinkIsReadToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		p.say(routesFrame(1, true, nil, out(1, 1<<18)))
		if err := p.eb.Send(t.Context(), "out", []byte("x")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.supersede()
		synctest.Wait()
		if err := p.eb.Send(t.Context(), "out", nil); !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("sent over a superseded link: %v", err)
		}
		p.say(routesFrame(2, false, []uint32{1}),
			bounceFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 5000, Hops: 1, Body: []byte("x")}), goodbyeFrame)
		p.CloseWrite()
		err := <-p.ended
		if s := p.eb.Stats(); s.Unknown != 0 || s.Bounced != 1 {
			t.Errorf("bounced %d, unknown %d: the link was not read to its end: %v", s.Bounced, s.Unknown, err)
		}
	})
}

// A peer that sends more than its credit loses the link.
func TestCreditOverrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t, bus.WithDrainTimeout(1))
		p.say(routesFrame(1, true, nil))
		block := make(chan struct{})
		defer close(block)
		if _, err := p.eb.Consume("in", bus.HandlerFunc(func(context.Context, *bus.Message) error { <-block; return nil }), bus.WithWindow(1<<10)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		m := msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 1e6, Body: make([]byte, 1<<10)})
		p.say(m)
		p.say(m)
		select {
		case err := <-p.ended:
			if err == nil || !strings.Contains(err.Error(), "window of 1024 bytes") {
				t.Errorf("the link ended with %v", err)
			}
		default:
			t.Error("2 KiB were taken at a window of 1 KiB")
		}
	})
}

// A bounce of what was never sent is a protocol error that changes nothing.
func TestForgedBounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		var handled atomic.Int32
		if _, err := p.eb.Consume("out", bus.HandlerFunc(func(context.Context, *bus.Message) error { handled.Add(1); return nil })); err != nil {
			t.Fatal(err)
		}
		p.say(routesFrame(1, true, nil, out(1, 1<<10)), bounceFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 1000, Hops: 1}))
		if err := <-p.ended; err == nil {
			t.Error("the link went on")
		}
		if s := p.eb.Stats(); handled.Load() > 0 || s.Sent != s.Settled+s.Bounced+s.Unknown {
			t.Errorf("%d handled; %+v", handled.Load(), s)
		}
	})
}

// A message over a limit ends the link that it comes on.
func TestReceivedTooLarge(t *testing.T) {
	headers := func(n int, k, v string) (hs []*wire.Header) {
		for range n {
			hs = append(hs, &wire.Header{Key: k, Value: v})
		}
		return hs
	}
	for name, m := range map[string]*wire.Msg{
		"body":      {Body: make([]byte, 64<<10+1)},
		"headers":   {Headers: headers(2, "k", string(bytes.Repeat([]byte("v"), 9000)))},
		"number":    {Headers: headers(1025, "", "")},
		"very many": {Headers: headers(50_000, "", "")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := playPeer(t)
				if _, err := p.eb.Consume("in", bus.HandlerFunc(func(context.Context, *bus.Message) error { t.Error("handled"); return nil })); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				m.Kind, m.Route, m.TimeLeft = 1, 1, 1000
				p.say(msgFrame(m))
				if err := <-p.ended; err == nil {
					t.Error("the peer said goodbye")
				}
			})
		})
	}
}

// ROUTES that remove a route and then break a rule leave no ghost behind.
func TestBadRoutesLeaveNoGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		p.say(routesFrame(1, true, nil, out(1, 1<<10)),
			routesFrame(2, false, []uint32{1}, &wire.Routes_Added{Number: 2, Address: "", Window: 1 << 10}))
		if err := <-p.ended; err == nil {
			t.Error("the link went on")
		}
		if err := p.eb.Send(t.Context(), "out", nil); !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("after the link has ended: %v", err)
		}
	})
}

// A message that is sent back again and again is given to others at once for 16
// times, then after pauses that grow, and is a dead letter at its deadline only.
func TestSentBackAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := make(chan string, 10)
		p := playPeer(t, deadLetters(func(d bus.DeadLetter) { dead <- d.Reason.Error() }))
		p.say(routesFrame(1, true, nil, out(1, 1<<10)))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := p.eb.Send(ctx, "out", nil); err != nil {
			t.Fatal(err)
		}
		p.heard()
		begin := time.Now()
		for hops := uint32(1); len(dead) == 0; hops++ {
			came := time.Now()
			left := (5*time.Second - came.Sub(begin)).Truncate(time.Millisecond)
			p.say(bounceFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: uint64(left.Milliseconds()), Hops: hops}))
			var msg bool
			for len(dead) == 0 && !msg { // pings come too
				msg = slices.ContainsFunc(p.heard(), func(f *wire.Frame) bool { return f.GetMsg() != nil })
			}
			rest, most := time.Since(came), max(time.Millisecond, left/2)
			if hops <= 16 && rest > 0 || hops > 16 && msg && rest != min(time.Millisecond<<min(hops-17, 8), most) {
				t.Errorf("sent back for the %dth time it rested %v of %v", hops, rest, left)
			}
		}
		took, reason := time.Since(begin), <-dead
		if took < 4*time.Second || took > 6*time.Second || len(dead) > 0 || !strings.Contains(reason, "in time") {
			t.Errorf("a dead letter after %v: %q; %d more", took, reason, len(dead))
		}
	})
}

// A bus that has said goodbye reads on: closing with input unread would take
// what it has written from the peer, as a reset does.
func TestGoodbyeCutsNothingOff(t *testing.T) {
	for name, said := range map[string][]*wire.Frame{
		"before the peer's": {pingFrame},
		"after the peer's":  {goodbyeFrame, pingFrame},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := playPeer(t)
				p.say(routesFrame(1, true, nil))
				closed := make(chan error, 1)
				go func() { closed <- p.eb.Close() }()
				synctest.Wait()
				heard := make([]byte, 1<<10)
				n, err := p.Read(heard)
				if err != nil || !bytes.HasSuffix(heard[:n], stream(t, leavingFrame)) {
					t.Errorf("before LEAVING_OK the peer reads %x, %v", heard[:n], err)
				}
				p.say(leavingOKFrame) // GOODBYE comes
				for _, f := range said {
					p.say(f)
				}
				heard, err = io.ReadAll(p)
				if err != nil || !bytes.HasSuffix(heard, stream(t, goodbyeFrame)) {
					t.Errorf("the peer reads %x, %v", heard, err)
				}
				p.CloseWrite()
				if err := <-closed; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A request that comes back to a bus whose Close has run out of time ends then.
func TestSentBackAfterForcedGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t, bus.WithDrainTimeout(time.Second))
		p.say(routesFrame(1, true, nil, out(1, 1<<10)))
		asked := make(chan error, 1)
		go func() { _, err := p.eb.Request(context.Background(), "out", nil); asked <- err }()
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- p.eb.Close() }()
		synctest.Wait()
		p.say(leavingOKFrame)
		time.Sleep(1500 * time.Millisecond)
		p.say(bounceFrame(&wire.Msg{Kind: 2, Route: 1, Id: 1 << 24, TimeLeft: 30_000, Hops: 1})) // the link's first id
		select {
		case err := <-asked:
			if !errors.Is(err, bus.ErrClosed) {
				t.Error(err)
			}
		default:
			t.Error("the request has not ended")
		}
		p.say(goodbyeFrame)
		p.CloseWrite()
		if err := <-closed; err == nil {
			t.Error("Close says nothing of what was left")
		}
	})
}

// Behind a forced GOODBYE nothing is written: neither what comes then and can only be
// sent back, nor an error in place of a large reply that the peer refuses then.
func TestNothingBehindForcedGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeerOver(t, []bustest.PipeOption{bustest.WithBuffer(4 << 10)}, bus.WithDrainTimeout(time.Second))
		p.say(routesFrame(1, true, nil))
		if _, err := p.eb.Consume("in", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			return m.Reply(ctx, make([]byte, len(m.Body)<<10))
		})); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.say(msgFrame(&wire.Msg{Kind: 2, Route: 1, Id: 5, TimeLeft: 60_000, Body: make([]byte, 100)}), // which is kept
			msgFrame(&wire.Msg{Kind: 2, Route: 1, Id: 6, TimeLeft: 60_000, Body: make([]byte, 60)})) // which is not read
		time.Sleep(time.Second) // the giver of the first has gone on
		closed := make(chan error, 1)
		go func() { closed <- p.eb.Close() }()
		time.Sleep(1100 * time.Millisecond)
		p.say(msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 60_000}),
			&wire.Frame{Kind: &wire.Frame_BulkReset{BulkReset: &wire.Chunk{Id: 1, Bytes: 1, Refused: 1}}})
		if said, err := io.ReadAll(p); err != nil || !bytes.HasSuffix(said, stream(t, goodbyeFrame)) {
			t.Errorf("the peer reads %x, %v", said[max(0, len(said)-100):], err)
		}
		p.say(goodbyeFrame)
		p.CloseWrite()
		if err := <-closed; err == nil {
			t.Error("Close says nothing of what was left")
		}
		if n := p.eb.Stats().CutOff; n != 1 {
			t.Errorf("%d messages are cut off", n)
		}
	})
}
