package bus_test

import (
	"bytes"
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// wide is a pipe that holds a large body.
var wide = []bustest.PipeOption{bustest.WithBuffer(1 << 20)}

// What came whole does not wait for the rest of what came behind it.
func TestRunBeforePartialBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		attachment, _ := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
		var n atomic.Int32
		if _, err := eb.Consume("in", bus.HandlerFunc(func(context.Context, *bus.Message) error { n.Add(1); return nil })); err != nil {
			t.Fatal(err)
		}
		ours, theirs := bustest.Pipe()
		defer theirs.Close()
		go attachment.ServeLink(t.Context(), bus.Peer{Name: "n1", Boot: 2}, ours, nil)
		readRoutes(t, theirs)
		b := stream(t, ackFrame(1), msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 1000, Body: []byte("x")}),
			msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 1000, Body: make([]byte, 20<<10)}))
		if _, err := theirs.Write(b[:len(b)-1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if n.Load() != 1 {
			t.Errorf("%d handled of one that came whole 2 s ago", n.Load())
		}
	})
}

// A number is free again when a link breaks on which a large message was being
// sent back.
func TestNumberAfterBulkBounceAndBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		attachment, _ := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
		block := make(chan struct{})
		cn, err := eb.Consume("in", bus.HandlerFunc(func(context.Context, *bus.Message) error { <-block; return nil }), bus.WithWindow(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := bustest.Pipe(bustest.WithBuffer(1 << 20))
		done := make(chan error, 1)
		go func() { done <- attachment.ServeLink(context.Background(), bus.Peer{Name: "n1", Boot: 2}, ours, nil) }()
		readRoutes(t, theirs)
		write := func(fs ...*wire.Frame) {
			if _, err := theirs.Write(stream(t, fs...)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		size := uint64(70 << 10)
		write(routesFrame(1, true, nil), ackFrame(1), msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 60000}))
		write(bulkFrame(t, 1, size, &wire.Msg{Kind: 1, Route: 1, TimeLeft: 60000}))
		write(chunkFrame(1, make([]byte, 64<<10)), chunkFrame(1, make([]byte, 6<<10)))
		cn.Close()
		close(block) // the first is settled
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		write(ackFrame(2))                                                       // gone
		write(&wire.Frame{Kind: &wire.Frame_BulkGo{BulkGo: &wire.Chunk{Id: 1}}}) // the bounce is written
		theirs.Reset()
		t.Log(<-done)
		synctest.Wait()
		if _, err := eb.Consume("next", bus.HandlerFunc(nothing)); err != nil {
			t.Fatal(err)
		}
		ours, theirs = bustest.Pipe()
		go func() { done <- attachment.ServeLink(context.Background(), bus.Peer{Name: "n2", Boot: 3}, ours, nil) }()
		head := make([]byte, 2)
		_, _ = theirs.Read(head)
		b := make([]byte, head[1])
		_, _ = theirs.Read(b)
		var r wire.Routes
		if err := proto.Unmarshal(b, &r); err != nil || len(r.Added) != 1 || r.Added[0].Number != 1 {
			t.Errorf("%v: %v; number 1 is not free", err, &r)
		}
		theirs.Reset()
		<-done
	})
}

// A peer that asks for memory and sends nothing holds it no longer than its
// message could live.
func TestBulkHeldReservations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		attachment, _ := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
		for _, a := range []string{"in", "in2"} {
			if _, err := eb.Consume(a, bus.HandlerFunc(nothing)); err != nil {
				t.Fatal(err)
			}
		}
		var peers []*bustest.Conn
		for i := range 3 {
			ours, theirs := bustest.Pipe(bustest.WithBuffer(1 << 20))
			go attachment.ServeLink(t.Context(), bus.Peer{Name: "n", Boot: uint64(2 + i)}, ours, nil)
			readRoutes(t, theirs)
			if _, err := theirs.Write(stream(t, routesFrame(1, true, nil), ackFrame(1),
				bulkFrame(t, 1, 16<<20, &wire.Msg{Kind: 1, Route: 1, TimeLeft: []uint64{1000, 1000, 90000}[i]}))); err != nil {
				t.Fatal(err)
			}
			if i < 2 {
				_, _ = theirs.Write(stream(t, bulkFrame(t, 2, 16<<20, &wire.Msg{Kind: 1, Route: 2, TimeLeft: 1000})))
			}
			peers = append(peers, theirs)
			synctest.Wait()
		}
		for range 60 { // they live, but send nothing
			time.Sleep(time.Second)
			for _, p := range peers {
				_, _ = p.Write(stream(t, pingFrame))
			}
		}
		b := make([]byte, 1<<16)
		n, _ := peers[2].Read(b)
		if !bytes.Contains(b[:n], stream(t, &wire.Frame{Kind: &wire.Frame_BulkGo{BulkGo: &wire.Chunk{Id: 1, Bytes: 64 << 10}}})) {
			t.Errorf("after a minute, and 59 s after all deadlines, the third peer has no room")
		}
		if n := bus.Assembling(eb); n != 64<<10 {
			t.Errorf("%d bytes are reserved", n)
		}
		for _, p := range peers {
			p.Reset()
		}
		eb.Close()
	})
}

// A large message that was sent back, and that the next peer has no memory for, is
// a dead letter at its deadline.
func TestReroutedBulkEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeerOver(t, wide)
		p.say(routesFrame(1, true, nil, out(1, 1<<10)))
		const size = 70 << 10
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		sent := make(chan error, 1)
		go func() { sent <- p.eb.Send(ctx, "out", make([]byte, size)) }()
		synctest.Wait()
		p.say(&wire.Frame{Kind: &wire.Frame_BulkGo{BulkGo: &wire.Chunk{Id: 1}}})
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		p.say(routesFrame(2, false, []uint32{1}, out(2, 1<<10)))
		f := bulkFrame(t, 1, size, &wire.Msg{Kind: 1, Route: 1, TimeLeft: 1000, Hops: 1})
		f.Kind.(*wire.Frame_Bulk).Bulk.Frame = 8
		p.say(f)
		p.say(chunkFrame(1, make([]byte, 64<<10)), chunkFrame(1, make([]byte, 6<<10)))
		for range 60 { // the peer lives, but has no room
			time.Sleep(time.Second)
			p.say(pingFrame)
		}
		if s := p.eb.Stats(); s.DeadLetters != 1 {
			t.Errorf("59 s after the deadline: %+v", s)
		}
		p.Reset()
		t.Log(<-p.ended)
	})
}

// A caller whose memory is being written to a peer that does not read gets it
// back in a while: the link ends.
func TestBulkGiveUpReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeerOver(t, []bustest.PipeOption{bustest.WithBuffer(48 << 10)})
		p.say(routesFrame(1, true, nil, out(1, 1<<10)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		sent := make(chan error, 1)
		go func() { sent <- p.eb.Send(ctx, "out", make([]byte, 1<<20)) }()
		synctest.Wait()
		p.say(&wire.Frame{Kind: &wire.Frame_BulkGo{BulkGo: &wire.Chunk{Id: 1}}})
		for range 60 { // the peer writes, but does not read
			time.Sleep(time.Second)
			_, _ = p.Write(stream(t, pingFrame))
		}
		select {
		case err := <-sent:
			t.Log(err)
		default:
			t.Error("Send has not returned 59 s after its context ended")
		}
		p.Reset()
		t.Log(<-p.ended)
	})
}

// A large publish does not wait for peers without memory for it.
func TestBulkPublishNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeerOver(t, wide)
		p.say(routesFrame(1, true, nil, out(1, 1<<10)))
		go func() { // it lives, but has no room
			for {
				time.Sleep(time.Second)
				if _, err := p.Write(stream(t, pingFrame)); err != nil {
					return
				}
			}
		}()
		for range 3 {
			begin := time.Now()
			err := p.eb.Publish(t.Context(), "out", make([]byte, 1<<20), bus.NoWait())
			if took := time.Since(begin); took > time.Second {
				t.Errorf("Publish with NoWait took %v: %v", took, err)
			}
		}
		p.Reset()
		t.Log(<-p.ended)
		time.Sleep(2 * time.Second) // for the one who pings
	})
}

// The parts of a body are acknowledged as they come, but for the last: nobody waits
// for that.
func TestLastChunkNotAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeerOver(t, wide)
		if _, err := p.eb.Consume("in", bus.HandlerFunc(nothing)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.say(routesFrame(1, true, nil), ackFrame(1), bulkFrame(t, 1, 70<<10, &wire.Msg{Kind: 1, Route: 1, TimeLeft: 1000}))
		p.say(chunkFrame(1, make([]byte, 32<<10)))
		p.say(chunkFrame(1, make([]byte, 38<<10)))
		var acked []uint64
		for _, f := range p.heard() {
			if a := f.GetChunkAck(); a != nil {
				acked = append(acked, a.Bytes)
			}
		}
		if !slices.Equal(acked, []uint64{32 << 10}) {
			t.Errorf("acknowledged %v of 32 and 38 KiB", acked)
		}
		if s := p.eb.Stats(); s.Handled != 1 {
			t.Errorf("%d handled", s.Handled)
		}
	})
}

// A large message is taken back before the sender acknowledges that its route is gone,
// by its removal or with its node: nothing comes for it behind that.
func TestBulkIsTakenBackBeforeItsRouteIsOver(t *testing.T) {
	for name, gone := range map[string]*wire.Frame{"removed": routesFrame(2, false, []uint32{1}), "leaving": leavingFrame} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := playPeer(t, bus.WithDrainTimeout(0))
				p.say(routesFrame(1, true, nil, out(1, 1<<20)))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				sent := make(chan error, 1)
				go func() { sent <- p.eb.Send(ctx, "out", make([]byte, 1<<20)) }()
				p.hears("BULK", func(f *wire.Frame) bool { return f.GetBulk() != nil })
				p.say(&wire.Frame{Kind: &wire.Frame_BulkGo{BulkGo: &wire.Chunk{Id: 1, Bytes: 64 << 10}}})
				p.say(gone)
				over := func(f *wire.Frame) bool { return f.GetRoutesAck().GetSeq() == 2 || f.GetLeavingOk() != nil }
				if f := p.hears("that the route is over", func(f *wire.Frame) bool { return takenBack(f) || over(f) }); !takenBack(f) {
					t.Errorf("%v comes before BULK_RESET", f)
				}
				p.hears("that the route is over", over)
				if err := <-sent; err == nil {
					t.Error("Send says nothing")
				}
			})
		})
	}
}
