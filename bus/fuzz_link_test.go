package bus_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math"
	"os"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// stream encodes frames as a peer would send them.
func stream(tb testing.TB, frames ...*wire.Frame) (b []byte) {
	tb.Helper()
	for _, f := range frames {
		var err error
		if b, err = (proto.MarshalOptions{}).MarshalAppend(b, f); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

func msgFrame(m *wire.Msg) *wire.Frame { return &wire.Frame{Kind: &wire.Frame_Msg{Msg: m}} }

func bounceFrame(m *wire.Msg) *wire.Frame { return &wire.Frame{Kind: &wire.Frame_Bounce{Bounce: m}} }

func routesFrame(seq uint64, last bool, removed []uint32, added ...*wire.Routes_Added) *wire.Frame {
	return &wire.Frame{Kind: &wire.Frame_Routes{Routes: &wire.Routes{Seq: seq, Last: last, Added: added, Removed: removed}}}
}

func ackFrame(seq uint64) *wire.Frame {
	return &wire.Frame{Kind: &wire.Frame_RoutesAck{RoutesAck: &wire.RoutesAck{Seq: seq}}}
}

func creditFrame(route uint32, bytes, messages uint64) *wire.Frame {
	return &wire.Frame{Kind: &wire.Frame_Credit{Credit: &wire.Credit{Route: route, Bytes: bytes, Messages: messages}}}
}

var (
	pingFrame      = &wire.Frame{Kind: &wire.Frame_Ping{Ping: &wire.Ping{}}}
	leavingFrame   = &wire.Frame{Kind: &wire.Frame_Leaving{Leaving: &wire.Leaving{}}}
	leavingOKFrame = &wire.Frame{Kind: &wire.Frame_LeavingOk{LeavingOk: &wire.Leaving{}}}
	goodbyeFrame   = &wire.Frame{Kind: &wire.Frame_Goodbye{Goodbye: &wire.Leaving{}}}
)

// linkSeeds are what peers say: good ones, and such as break a rule.
func linkSeeds(tb testing.TB) [][]byte {
	out := func(num uint32) *wire.Routes_Added {
		return &wire.Routes_Added{Number: num, Address: "out", Window: 1 << 10}
	}
	set := []*wire.Frame{routesFrame(1, true, nil, out(1)), ackFrame(1)}
	seeds := [][]byte{nil, []byte("GET / HTTP/1.1\r\n\r\n"), {0x16, 3, 1, 2, 0}, stream(tb, set...)}
	for _, more := range [][]*wire.Frame{
		{goodbyeFrame},
		{leavingFrame, goodbyeFrame},
		{pingFrame, pingFrame, leavingOKFrame},
		{msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 1000, Body: []byte("x")}), goodbyeFrame},
		{msgFrame(&wire.Msg{Kind: 2, Route: 1, Id: 1 << 24, TimeLeft: 1000, Headers: []*wire.Header{{Key: "k", Value: "v"}}}), {Kind: &wire.Frame_Cancel{Cancel: &wire.Cancel{Route: 1, Id: 1 << 24}}}},
		{msgFrame(&wire.Msg{Kind: 2, Route: 1, Id: 7, TimeLeft: 1000, Codec: 3, CodecName: "nobody's"}), msgFrame(&wire.Msg{Kind: 3, Route: 2, Codec: 3}), msgFrame(&wire.Msg{Kind: 1, Route: 1, Codec: 4})},
		{bounceFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 1, Hops: 1, Codec: 3, CodecName: "nobody's"})},
		{msgFrame(&wire.Msg{Kind: 2, Route: 1, Id: 7, TimeLeft: 1000, Body: []byte("?")}), {Kind: &wire.Frame_Reply{Reply: &wire.Reply{Id: 1 << 24, Ask: 8, TimeLeft: 1000, Body: []byte("?")}}},
			{Kind: &wire.Frame_Reply{Reply: &wire.Reply{Id: 1 << 24, Ask: 8, TimeLeft: math.MaxUint64}}}, {Kind: &wire.Frame_Cancel{Cancel: &wire.Cancel{Id: 8}}}, {Kind: &wire.Frame_Cancel{Cancel: &wire.Cancel{Id: 9}}}},
		{{Kind: &wire.Frame_Reply{Reply: &wire.Reply{Id: 5, Ask: 6, Codec: 3, CodecName: "x"}}}, {Kind: &wire.Frame_Reply{Reply: &wire.Reply{Failed: 1, Id: 5, Ask: 6}}}},
		{msgFrame(&wire.Msg{Kind: 3, Route: 1, TimeLeft: 1, Skipped: []uint32{2}})},
		{msgFrame(&wire.Msg{Kind: 3, Route: 1, TimeLeft: math.MaxUint64, Skipped: []uint32{1, 2}})},
		{msgFrame(&wire.Msg{Kind: 1, Route: 1}), {Kind: &wire.Frame_Pad{Pad: []byte{0xff}}}, msgFrame(&wire.Msg{Kind: 1, Route: 1}), {Kind: &wire.Frame_Pad{}}},
		{msgFrame(&wire.Msg{Kind: 1, Route: 9})},
		{msgFrame(&wire.Msg{Kind: 7, Route: 1})},
		{bounceFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 1, Hops: 1})},
		{bounceFrame(&wire.Msg{Kind: 2, Route: 1, Id: 1 << 24, Hops: 17})},
		{creditFrame(1, 128, 1)},
		{creditFrame(1, 1, 0), creditFrame(2, 0, 0)},
		{ackFrame(1), ackFrame(2)},
		{{Kind: &wire.Frame_Reply{Reply: &wire.Reply{Id: 1 << 24, Failed: 1, Code: -1, Body: []byte("no")}}}},
		{{Kind: &wire.Frame_RoutesDone{RoutesDone: &wire.RoutesDone{Route: 1}}}, routesFrame(2, false, []uint32{1}), routesFrame(3, false, nil, out(1), out(2))},
		{routesFrame(2, false, []uint32{1, 1})},
		{routesFrame(2, false, nil, out(1))},
		{routesFrame(2, false, nil, out(1<<20)), routesFrame(3, false, nil, out(1<<20+1))},
		{routesFrame(2, false, nil, &wire.Routes_Added{Number: 3, Address: strings.Repeat("a", 256), Window: 1 << 10})},
	} {
		seeds = append(seeds, stream(tb, append(set[:2:2], more...)...))
	}
	unknown := binary.AppendUvarint(nil, 14<<3|2)
	return append(seeds, append(stream(tb, set...), append(unknown, 0)...))
}

// FuzzLink feeds what a peer might say to a bus that serves its link: it never
// panics or hangs, keeps what it holds bounded, and has nothing of the peer
// left when ServeLink has returned.
func FuzzLink(f *testing.F) {
	for _, s := range linkSeeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		eb := bus.New(quiet, bus.WithDrainTimeout(10*time.Millisecond))
		attachment, err := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		consumeFuzzed(t, eb)
		ours, theirs := bustest.Pipe()
		served := make(chan error, 1)
		go func() { served <- attachment.ServeLink(context.Background(), bus.Peer{Name: "n1", Boot: 2}, ours, nil) }()
		readRoutes(t, theirs)
		drained := make(chan struct{})
		go func() { // until the bus closes its end
			defer close(drained)
			_, _ = io.Copy(io.Discard, theirs)
		}()
		_, _ = theirs.Write(input) // fails when the bus has closed the link
		_ = theirs.CloseWrite()
		receive(t, served)
		if n := liveHeap(); n > 512<<20 {
			t.Errorf("%d bytes are in use", n)
		}
		if peers := eb.Peers(); len(peers) > 0 {
			t.Errorf("linked with %v", peers)
		}
		closed := make(chan struct{})
		go func() { _ = eb.Close(); close(closed) }() // says when something was left
		receive(t, closed)
		receive(t, drained)
		_ = theirs.Close()
	})
}

// consumeFuzzed registers what a fuzzed peer may reach: routes 1 and 2, whose
// handlers publish to the peer's own consumers and reply.
func consumeFuzzed(t *testing.T, eb *bus.EventBus) {
	t.Helper()
	for range 2 {
		if _, err := eb.Consume("in", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			_ = eb.Publish(ctx, "out", m.Body, bus.NoWait())
			if string(m.Body) == "?" {
				ctx, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
				defer cancel()
				if a, err := m.Request(ctx, "which?"); err == nil {
					_, err = a.Request(ctx, a.Body)
					return err
				}
			}
			return m.Reply(ctx, m.Body)
		}), bus.WithWindow(1<<10)); err != nil {
			t.Fatal(err)
		}
	}
}

// readRoutes reads the set of routes that a bus begins with.
func readRoutes(t *testing.T, r io.Reader) {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	if head[0] != 4<<3|2 || head[1] > 127 {
		t.Fatalf("the first frame begins with %x", head)
	}
	if _, err := io.CopyN(io.Discard, r, int64(head[1])); err != nil {
		t.Fatal(err)
	}
}

// liveHeap returns the bytes of objects that live, or are not swept yet.
func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// FuzzGossip feeds payloads to the gossip lane: no more than one message comes
// of each, and every payload is counted under one heading.
func FuzzGossip(f *testing.F) {
	for line := range strings.Lines(readFile(f, "internal/frame/testdata/protocol1.hex")) {
		if text, ok := strings.CutPrefix(line, "gossip: "); ok {
			b, err := hex.DecodeString(strings.TrimSpace(text))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, b)
		}
	}
	payload := func(g *wire.Gossip) []byte {
		b, err := proto.Marshal(g)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	of := func(boot, seq uint64) *wire.Gossip {
		return &wire.Gossip{Boot: boot, Seq: seq, Sent: math.MaxInt64, Address: "news", Body: []byte("x")}
	}
	f.Add(payload(of(2, 1)), payload(of(2, 3)))
	f.Add(payload(of(2, 5)), payload(of(2, 5)))
	f.Add(payload(of(1, 1)), payload(of(2, 0)))
	f.Add(payload(of(2, 1)), payload(of(2, math.MaxUint64)))
	f.Add(payload(&wire.Gossip{Boot: 2, Seq: 1, Address: "news"}), []byte("garbage"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		eb := bus.New(quiet)
		attachment, err := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer eb.Close()
		got := make(chan *bus.Message, 3)
		if _, err := eb.Consume("news", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error { got <- m; return nil })); err != nil {
			t.Fatal(err)
		}
		toNews := 0
		for _, kept := range []string{string(first), string(second)} {
			b := []byte(kept)
			before := eb.Stats().Gossip
			attachment.ReceiveGossip(b)
			g := eb.Stats().Gossip
			counted := g.Received + g.Duplicates + g.Old + g.Malformed - before.Received - before.Duplicates - before.Old - before.Malformed
			var m wire.Gossip
			switch err := proto.Unmarshal([]byte(kept), &m); {
			case counted == 0 && err == nil && m.Boot == 1: // an echo
			case counted != 1 || err == nil && m.Boot == 1 && g.Malformed == before.Malformed:
				t.Fatalf("%x counts as %d: %+v", b, counted, g)
			case g.Received > before.Received && m.Address == "news" && m.Codec <= 2: // else this node does not have it
				toNews++
			case g.Malformed > before.Malformed && err == nil && m.Address != "" && len(m.Address) <= 255 && m.Seq > 0:
				t.Fatalf("%v counts as malformed", &m)
			}
			if string(b) != kept {
				t.Fatal("the payload was changed")
			}
			clear(b) // it is the caller's again
		}
		for range toNews {
			m := receive(t, got)
			if m.Via() != bus.ViaGossip || m.Address() != "news" || m.WantsReply() {
				t.Fatalf("via %v at %q", m.Via(), m.Address())
			}
		}
		if len(got) > 0 {
			t.Fatal("a payload was delivered twice")
		}
	})
}

func readFile(tb testing.TB, name string) string {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func marshalGossip(tb testing.TB, g *wire.Gossip) []byte {
	tb.Helper()
	b, err := proto.Marshal(g)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
