package bus

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus/internal/wire"
)

// handFrame is a frame as the hot path writes and reads it.
type handFrame struct {
	kind    int
	head    head
	header  Header
	skipped []uint32
	codec   string // its name
	address string
	body    []byte
}

// encode writes the frame by hand.
func (f *handFrame) encode() []byte {
	var skipped, rest []byte
	for _, n := range f.skipped {
		skipped = protowire.AppendVarint(skipped, uint64(n))
	}
	if len(skipped) > 0 {
		rest = appendSkipped(rest, skipped)
	}
	if f.codec != "" {
		rest = appendCodecName(rest, f.codec)
	}
	if f.address != "" {
		rest = appendAddress(rest, f.address)
	}
	return append(alone(appendFrame(nil, f.kind, &f.head, f.header, rest, len(f.body))), f.body...)
}

// alone returns the frame at the end of b, before which there may be a pad.
func alone(b []byte) []byte {
	if kind, _, end, err := nextFrame(b); err == nil && kind == framePad {
		return b[end:]
	}
	return b
}

// message is the same frame as a protobuf message.
func (f *handFrame) message() *wire.Frame {
	h := &f.head
	switch f.kind {
	case frameMsg:
		return &wire.Frame{Kind: &wire.Frame_Msg{Msg: f.msg()}}
	case frameBounce:
		return &wire.Frame{Kind: &wire.Frame_Bounce{Bounce: f.msg()}}
	case frameHandover:
		return &wire.Frame{Kind: &wire.Frame_Handover{Handover: f.msg()}}
	case frameReply:
		return &wire.Frame{Kind: &wire.Frame_Reply{Reply: &wire.Reply{
			Failed: uint32(h[fFailed]), Ask: h[fAsk], Id: h[fID], TimeLeft: h[fTimeLeft], Codec: uint32(h[fCodec]),
			Headers: f.headers(), Code: int64(unzigzag(h[fCode])), CodecName: f.codec, Body: f.body,
		}}}
	case frameCredit:
		return &wire.Frame{Kind: &wire.Frame_Credit{Credit: &wire.Credit{Route: uint32(h[fRoute]), Bytes: h[fBytes], Messages: h[fMessages], Window: h[fWindow]}}}
	case frameRoutesAck:
		return &wire.Frame{Kind: &wire.Frame_RoutesAck{RoutesAck: &wire.RoutesAck{Seq: h[fSeq]}}}
	case frameRoutesDone:
		return &wire.Frame{Kind: &wire.Frame_RoutesDone{RoutesDone: &wire.RoutesDone{Route: uint32(h[fRoute])}}}
	case frameCancel:
		return &wire.Frame{Kind: &wire.Frame_Cancel{Cancel: &wire.Cancel{Route: uint32(h[fRoute]), Id: h[fID]}}}
	case framePing:
		return &wire.Frame{Kind: &wire.Frame_Ping{Ping: &wire.Ping{Clock: h[fClock]}}}
	case framePong:
		return &wire.Frame{Kind: &wire.Frame_Pong{Pong: &wire.Ping{Clock: h[fClock], Heard: h[fHeard]}}}
	case frameTime:
		return &wire.Frame{Kind: &wire.Frame_Time{Time: &wire.Ping{Clock: h[fClock]}}}
	case frameLeaving:
		return &wire.Frame{Kind: &wire.Frame_Leaving{Leaving: &wire.Leaving{}}}
	case frameLeavingOK:
		return &wire.Frame{Kind: &wire.Frame_LeavingOk{LeavingOk: &wire.Leaving{}}}
	case frameGoodbye:
		return &wire.Frame{Kind: &wire.Frame_Goodbye{Goodbye: &wire.Leaving{}}}
	}
	panic(fmt.Sprint("kind ", f.kind))
}

func (f *handFrame) msg() *wire.Msg {
	h := &f.head
	return &wire.Msg{
		Kind: uint32(h[fKind]), Route: uint32(h[fRoute]), Id: h[fID], TimeLeft: h[fTimeLeft], Codec: uint32(h[fCodec]),
		Headers: f.headers(), Hops: uint32(h[fHops]), Starved: h[fStarved] != 0, Skipped: f.skipped, CodecName: f.codec, Address: f.address, Body: f.body,
	}
}

func (f *handFrame) headers() (hs []*wire.Header) {
	for k, vs := range f.header {
		for _, v := range vs {
			hs = append(hs, &wire.Header{Key: k, Value: v})
		}
	}
	return hs
}

// canonical reports whether protobuf has one way to write the frame: with
// several keys their order is open, and an empty key or value is left out by
// protobuf but written by hand.
func (f *handFrame) canonical() bool {
	for k, vs := range f.header {
		for _, v := range vs {
			if k == "" || v == "" {
				return false
			}
		}
	}
	return len(f.header) <= 1
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// content reads the frame that b holds, and nothing else.
func content(t testing.TB, b []byte) (kind int, inner []byte) {
	t.Helper()
	kind, begin, end, err := nextFrame(b)
	if err != nil || end != len(b) {
		t.Fatalf("nextFrame(%x): kind %d, to %d of %d, %v", b, kind, end, len(b), err)
	}
	return kind, b[begin:end]
}

// sameHeader compares headers, of which nil and empty ones are the same.
func sameHeader(a, b Header) bool {
	if len(a) != len(b) {
		return false
	}
	for k, vs := range a {
		if len(vs) != len(b[k]) {
			return false
		}
		for i := range vs {
			if vs[i] != b[k][i] {
				return false
			}
		}
	}
	return true
}

func headerOf(hs []*wire.Header) Header {
	h := Header{}
	for _, e := range hs {
		h.Add(e.GetKey(), e.GetValue())
	}
	return h
}

// checkFrame checks that hand and protobuf write the same and read what the
// other has written.
func checkFrame(t *testing.T, f *handFrame) {
	t.Helper()
	hand, want := f.encode(), f.message()
	generated := marshal(t, want)
	if f.canonical() && !bytes.Equal(hand, generated) {
		t.Errorf("by hand  %x\nprotobuf %x", hand, generated)
	}

	var got wire.Frame
	if err := proto.Unmarshal(hand, &got); err != nil {
		t.Fatalf("protobuf cannot read %x: %v", hand, err)
	}
	sortless(&got)
	sortless(want)
	if !proto.Equal(&got, want) {
		t.Errorf("protobuf reads %v\nwritten by hand from %v", &got, want)
	}

	for _, b := range [][]byte{hand, generated} {
		kind, inner := content(t, b)
		var p frame
		if err := p.parse(inner); err != nil || kind != f.kind {
			t.Fatalf("parse(%x): kind %d, %v", inner, kind, err)
		}
		skipped, err := numbers(p.skipped)
		if err != nil {
			t.Fatal(err)
		}
		if p.head != f.head || !bytes.Equal(p.body, f.body) || !sameHeader(p.header, f.header) || fmt.Sprint(skipped) != fmt.Sprint(f.skipped) || string(p.codecName) != f.codec {
			t.Errorf("read %v %v %v %q %x\nnot  %v %v %v %q %x", p.head, p.header, skipped, p.codecName, p.body, f.head, f.header, f.skipped, f.codec, f.body)
		}
	}
}

// sortless puts headers into an order of their own: by key, values as they are.
func sortless(f *wire.Frame) {
	var hs *[]*wire.Header
	switch k := f.Kind.(type) {
	case *wire.Frame_Msg:
		hs = &k.Msg.Headers
	case *wire.Frame_Bounce:
		hs = &k.Bounce.Headers
	case *wire.Frame_Reply:
		hs = &k.Reply.Headers
	default:
		return
	}
	byKey := map[string][]*wire.Header{}
	for _, h := range *hs {
		byKey[h.Key] = append(byKey[h.Key], h)
	}
	*hs = nil
	for _, k := range slices.Sorted(maps.Keys(byKey)) {
		*hs = append(*hs, byKey[k]...)
	}
}

// wireFrames is one frame of each kind, and the corners of the larger ones.
var wireFrames = []struct {
	name string
	handFrame
}{
	{"send", handFrame{kind: frameMsg, head: head{fKind: kindSend, fRoute: 7, fTimeLeft: 30000, fCodec: codecJSON}, body: []byte(`"ada"`)}},
	{"request", handFrame{kind: frameMsg, head: head{fKind: kindRequest, fRoute: 300, fID: 1<<slotBits | 5, fTimeLeft: 1, fCodec: codecProto, fStarved: 1},
		header: Header{"trace": {"abc"}}, body: []byte{8, 42}}},
	{"publish", handFrame{kind: frameMsg, head: head{fKind: kindPublish, fRoute: 1, fTimeLeft: 100}, skipped: []uint32{2, 128, 1 << 20}, body: []byte("news")}},
	{"bounce", handFrame{kind: frameBounce, head: head{fKind: kindRequest, fRoute: 7, fID: math.MaxUint64, fTimeLeft: 500, fHops: 16}, header: Header{"k": {"v1", "v2"}}, body: []byte{0}}},
	{"reply", handFrame{kind: frameReply, head: head{fID: 9, fCodec: codecJSON}, header: Header{"k": {"v"}}, body: []byte(`{"x":1}`)}},
	{"question", handFrame{kind: frameReply, head: head{fAsk: 1<<slotBits | 6, fID: 9, fTimeLeft: 30000, fCodec: codecJSON}, header: Header{"k": {"v"}}, body: []byte(`"which?"`)}},
	{"codec", handFrame{kind: frameMsg, head: head{fKind: kindSend, fRoute: 7, fTimeLeft: 30000, fCodec: codecNamed}, codec: "order", body: []byte{1}}},
	{"codec of a publish", handFrame{kind: frameMsg, head: head{fKind: kindPublish, fRoute: 1, fTimeLeft: 100, fCodec: codecNamed}, skipped: []uint32{2}, codec: "ключ", body: []byte("news")}},
	{"codec of a bounce", handFrame{kind: frameBounce, head: head{fKind: kindSend, fRoute: 7, fTimeLeft: 500, fCodec: codecNamed, fHops: 1}, codec: "order"}},
	{"handover", handFrame{kind: frameHandover, head: head{fKind: kindSend, fID: 8, fTimeLeft: 500, fCodec: codecNamed, fHops: 1}, header: Header{"k": {"v"}}, codec: "order", address: "greet", body: []byte{0}}},
	{"codec of a reply", handFrame{kind: frameReply, head: head{fID: 9, fCodec: codecNamed}, codec: strings.Repeat("n", maxCodecName), body: []byte{2}}},
	{"cancel of a question", handFrame{kind: frameCancel, head: head{fID: 1<<slotBits | 6}}},
	{"empty reply", handFrame{kind: frameReply, head: head{fID: 1}}},
	{"error", handFrame{kind: frameReply, head: head{fFailed: 1, fID: 3, fCode: zigzag(CodeBody)}, body: []byte("no")}},
	{"own error", handFrame{kind: frameReply, head: head{fFailed: 1, fID: 3, fCode: zigzag(math.MaxInt)}}},
	{"lowest error", handFrame{kind: frameReply, head: head{fFailed: 1, fID: 3, fCode: zigzag(math.MinInt)}}},
	{"credit", handFrame{kind: frameCredit, head: head{fRoute: 7, fBytes: 131072, fMessages: 500}}},
	{"routes ack", handFrame{kind: frameRoutesAck, head: head{fSeq: 3}}},
	{"routes done", handFrame{kind: frameRoutesDone, head: head{fRoute: 7}}},
	{"all routes done", handFrame{kind: frameRoutesDone}},
	{"cancel", handFrame{kind: frameCancel, head: head{fRoute: 7, fID: 1 << 24}}},
	{"ping", handFrame{kind: framePing}},
	{"pong", handFrame{kind: framePong}},
	{"ping with its clock", handFrame{kind: framePing, head: head{fClock: 1 << 40}}},
	{"pong with both clocks", handFrame{kind: framePong, head: head{fClock: 1, fHeard: 1 << 40}}},
	{"time", handFrame{kind: frameTime, head: head{fClock: math.MaxUint64}}},
	{"leaving", handFrame{kind: frameLeaving}},
	{"leaving ok", handFrame{kind: frameLeavingOK}},
	{"goodbye", handFrame{kind: frameGoodbye}},
	{"many headers", handFrame{kind: frameMsg, head: head{fKind: kindSend, fRoute: 1}, header: Header{"a": {"1", "2", "3"}, "b": {"x"}, "ключ": {"значение"}}}},
	{"empty headers", handFrame{kind: frameMsg, head: head{fKind: kindSend, fRoute: 1}, header: Header{"": {"v"}, "k": {"", "x"}, "none": {""}}}},
	{"long header", handFrame{kind: frameMsg, head: head{fKind: kindSend, fRoute: 1}, header: Header{"k": {strings.Repeat("v", maxHeader-1)}}}},
	{"largest body", handFrame{kind: frameMsg, head: head{fKind: kindSend, fRoute: 1}, body: bytes.Repeat([]byte{0xff}, chunked)}},
}

func TestFramesEqualProtobuf(t *testing.T) {
	t.Parallel()
	for _, c := range wireFrames {
		t.Run(c.name, func(t *testing.T) { checkFrame(t, &c.handFrame) })
	}
}

func TestRandomFramesEqualProtobuf(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		f := randomFrame(r)
		if checkFrame(t, f); t.Failed() {
			t.Fatalf("frame %+v", f)
		}
	}
}

// randomFrame makes a frame whose numbers are of all lengths.
func randomFrame(r *rand.Rand) *handFrame {
	u64 := func() uint64 { return r.Uint64() >> r.IntN(65) }
	u32 := func() uint64 { return u64() & math.MaxUint32 }
	text := func() string { return strings.Repeat(string(rune('a'+r.IntN(26)))+"ü", r.IntN(80)) }
	f := &handFrame{kind: frameMsg + r.IntN(frameGoodbye)}
	h := &f.head
	switch f.kind {
	case frameRoutes:
		f.kind = framePing
	case frameMsg, frameBounce:
		*h = head{fKind: u32(), fRoute: u32(), fID: u64(), fTimeLeft: u64(), fCodec: u32(), fHops: u32(), fStarved: r.Uint64N(2)}
		for range r.IntN(4) {
			f.skipped = append(f.skipped, uint32(u32()))
		}
	case frameReply:
		*h = head{fFailed: u32(), fAsk: u64(), fID: u64(), fTimeLeft: u64(), fCodec: u32(), fCode: u64()}
	case frameCredit:
		*h = head{fRoute: u32(), fBytes: u64(), fMessages: u64(), fWindow: u64()}
	case frameRoutesAck:
		h[fSeq] = u64()
	case frameRoutesDone:
		h[fRoute] = u32()
	case frameCancel:
		h[fRoute], h[fID] = u32(), u64()
	}
	if f.kind == frameMsg || f.kind == frameBounce || f.kind == frameReply {
		for range r.IntN(4) {
			if f.header == nil {
				f.header = Header{}
			}
			f.header.Add(text(), text())
		}
		if r.IntN(2) == 0 {
			f.codec = text()
		}
		f.body = make([]byte, r.IntN(300))
		for i := range f.body {
			f.body[i] = byte(r.Uint32())
		}
	}
	return f
}

// The announcer's ROUTES are those that protobuf would write: the whole set,
// then changes, in frames that stay within their bound.
func TestRoutesEqualProtobuf(t *testing.T) {
	t.Parallel()
	l, cs := routesLink(t)
	var added []*wire.Routes_Added
	for _, c := range cs {
		l.announce(c)
		a := &wire.Routes_Added{Number: c.num, Address: c.address}
		if c.window < windowFloor { // which need not be said
			a.Window = uint64(c.window)
		}
		added = append(added, a)
	}
	checkRoutes(t, l, &wire.Routes{Seq: 1, Added: added, Last: true})

	l.first = nil
	var removed []uint32
	for _, c := range cs[1:] {
		l.ins[c.num].removing = true
		l.dirty = append(l.dirty, l.ins[c.num])
		removed = append(removed, c.num)
	}
	more := &Consumer{core: l.core, num: 1 << 20, address: "more", window: 1 << 26}
	l.announce(more)
	checkRoutes(t, l, &wire.Routes{
		Seq: 2, Removed: removed,
		Added: []*wire.Routes_Added{{Number: 1 << 20, Address: "more"}},
	})
}

// routesLink returns a link that nobody serves, and consumers.
func routesLink(t *testing.T) (*link, []*Consumer) {
	t.Helper()
	c := newCore(config{log: slog.New(slog.DiscardHandler)})
	l := c.newLink(Peer{Name: "peer", Boot: 2}, nil, nil)
	var cs []*Consumer
	for i, address := range []string{"a", "greet", strings.Repeat("x", maxAddress), "κόσμε"} {
		cs = append(cs, &Consumer{core: c, num: uint32(1 + i*100), address: address, window: int32(1) << (10 + 5*i)})
	}
	return l, cs
}

func checkRoutes(t *testing.T, l *link, want *wire.Routes) {
	t.Helper()
	l.mu.Lock()
	l.writeRoutesLocked()
	got := l.first
	l.mu.Unlock()
	if want := marshal(t, &wire.Frame{Kind: &wire.Frame_Routes{Routes: want}}); !bytes.Equal(got, want) {
		t.Errorf("by hand  %x\nprotobuf %x", got, want)
	}
}

// A set that is larger than a frame comes in several, of which one is the last.
func TestRoutesInSeveralFrames(t *testing.T) {
	t.Parallel()
	l, _ := routesLink(t)
	const n = 1000
	for i := range n {
		l.announce(&Consumer{core: l.core, num: uint32(i + 1), address: fmt.Sprintf("%0255d", i), window: 1 << 10})
	}
	var b []byte
	l.mu.Lock()
	for l.hasRoutes() { // as the link takes them
		l.writeRoutesLocked()
		b = append(b, l.takeFirst()...)
	}
	l.mu.Unlock()
	frames, routes, lasts := 0, 0, 0
	for len(b) > 0 {
		kind, begin, end, err := nextFrame(b)
		if err != nil || kind != frameRoutes || end > len(b) || end-begin > routesFrame+maxAddress+64 {
			t.Fatalf("frame %d of kind %d from %d to %d of %d: %v", frames, kind, begin, end, len(b), err)
		}
		var r wire.Routes
		if err := proto.Unmarshal(b[begin:end], &r); err != nil {
			t.Fatal(err)
		}
		frames++
		if r.Seq != uint64(frames) {
			t.Errorf("frame %d has number %d", frames, r.Seq)
		}
		for _, a := range r.Added {
			if routes++; a.Number != uint32(routes) {
				t.Fatalf("route %d comes as the %dth", a.Number, routes)
			}
		}
		if r.Last {
			lasts++
		}
		b = b[end:]
	}
	if frames < 8 || routes != n || lasts != 1 {
		t.Errorf("%d frames, %d routes, %d last ones", frames, routes, lasts)
	}
}

// Fields that this version does not know are skipped, of every wire type.
func TestUnknownFields(t *testing.T) {
	t.Parallel()
	var unknown []byte
	unknown = protowire.AppendVarint(protowire.AppendTag(unknown, 100, protowire.VarintType), 1<<60)
	unknown = protowire.AppendFixed32(protowire.AppendTag(unknown, 101, protowire.Fixed32Type), 1)
	unknown = protowire.AppendFixed64(protowire.AppendTag(unknown, 102, protowire.Fixed64Type), 1)
	unknown = protowire.AppendBytes(protowire.AppendTag(unknown, 103, protowire.BytesType), []byte("later"))
	unknown = protowire.AppendTag(unknown, 104, protowire.StartGroupType)
	unknown = protowire.AppendVarint(protowire.AppendTag(unknown, 1, protowire.VarintType), 5)
	unknown = protowire.AppendTag(unknown, 104, protowire.EndGroupType)
	unknown = protowire.AppendBytes(protowire.AppendTag(unknown, 2, protowire.BytesType), []byte("a known number of another type"))
	unknown = protowire.AppendFixed32(protowire.AppendTag(unknown, 15, protowire.Fixed32Type), 1)

	f := wireFrames[1].handFrame
	_, inner := content(t, f.encode())
	for _, b := range [][]byte{append(bytes.Clone(unknown), inner...), append(bytes.Clone(inner), unknown...)} {
		var p frame
		if err := p.parse(b); err != nil || p.head != f.head || !bytes.Equal(p.body, f.body) || !sameHeader(p.header, f.header) {
			t.Errorf("%v %v %x, %v", p.head, p.header, p.body, err)
		}
	}

	entry := protowire.AppendBytes(protowire.AppendTag(bytes.Clone(unknown[:len(unknown)-5]), 1, protowire.BytesType), []byte("K"))
	var p frame
	if err := p.addHeader(append(entry, 2<<3|2, 1, 'v', 3<<3|2, 1, 'z', 4<<3, 1)); err != nil || !sameHeader(p.header, Header{"k": {"v"}}) {
		t.Errorf("header %v, %v", p.header, err)
	}
}

func TestZigzag(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, -1, 2, CodeBody, math.MaxInt32, math.MinInt32, math.MaxInt, math.MinInt} {
		if v := zigzag(n); v != protowire.EncodeZigZag(int64(n)) || unzigzag(v) != n {
			t.Errorf("%d: %d, back %d", n, v, unzigzag(v))
		}
	}
}
