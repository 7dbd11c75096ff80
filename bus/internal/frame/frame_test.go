package frame

import (
	"bytes"
	"fmt"
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
	head    Head
	header  Header
	skipped []uint32
	codec   string // its name
	address string
	details []byte
	body    []byte
}

// encode writes the frame by hand.
func (f *handFrame) encode() []byte {
	var skipped, rest []byte
	for _, n := range f.skipped {
		skipped = protowire.AppendVarint(skipped, uint64(n))
	}
	if len(skipped) > 0 {
		rest = AppendSkipped(rest, skipped)
	}
	if f.codec != "" {
		rest = AppendCodecName(rest, f.codec)
	}
	if f.address != "" {
		rest = AppendAddress(rest, f.address)
	}
	if f.details != nil {
		rest = AppendDetails(rest, f.details)
	}
	return append(alone(Append(nil, f.kind, &f.head, f.header, rest, len(f.body))), f.body...)
}

// alone returns the frame at the end of b, before which there may be a pad.
func alone(b []byte) []byte {
	if kind, _, end, err := Next(b); err == nil && kind == Pad {
		return b[end:]
	}
	return b
}

// message is the same frame as a protobuf message.
func (f *handFrame) message() *wire.Frame {
	h := &f.head
	switch f.kind {
	case Msg:
		return &wire.Frame{Kind: &wire.Frame_Msg{Msg: f.msg()}}
	case Bounce:
		return &wire.Frame{Kind: &wire.Frame_Bounce{Bounce: f.msg()}}
	case Handover:
		return &wire.Frame{Kind: &wire.Frame_Handover{Handover: f.msg()}}
	case Reply:
		return &wire.Frame{Kind: &wire.Frame_Reply{Reply: &wire.Reply{
			Failed: uint32(h[FFailed]), Ask: h[FAsk], Id: h[FID], TimeLeft: h[FTimeLeft], Codec: uint32(h[FCodec]),
			Headers: f.headers(), Code: protowire.DecodeZigZag(h[FCode]), CodecName: f.codec, Details: f.details, Body: f.body,
		}}}
	case Credit:
		return &wire.Frame{Kind: &wire.Frame_Credit{Credit: &wire.Credit{Route: uint32(h[FRoute]), Bytes: h[FBytes], Messages: h[FMessages], Window: h[FWindow]}}}
	case RoutesAck:
		return &wire.Frame{Kind: &wire.Frame_RoutesAck{RoutesAck: &wire.RoutesAck{Seq: h[FSeq]}}}
	case RoutesDone:
		return &wire.Frame{Kind: &wire.Frame_RoutesDone{RoutesDone: &wire.RoutesDone{Route: uint32(h[FRoute])}}}
	case Cancel:
		return &wire.Frame{Kind: &wire.Frame_Cancel{Cancel: &wire.Cancel{Route: uint32(h[FRoute]), Id: h[FID]}}}
	case Ping:
		return &wire.Frame{Kind: &wire.Frame_Ping{Ping: &wire.Ping{Clock: h[FClock]}}}
	case Pong:
		return &wire.Frame{Kind: &wire.Frame_Pong{Pong: &wire.Ping{Clock: h[FClock], Heard: h[FHeard]}}}
	case Time:
		return &wire.Frame{Kind: &wire.Frame_Time{Time: &wire.Ping{Clock: h[FClock]}}}
	case Rest:
		return &wire.Frame{Kind: &wire.Frame_Rest{Rest: &wire.Rest{Route: uint32(h[FRoute]), Resized: h[FResized], Window: h[FWindow]}}}
	case Bulk:
		return &wire.Frame{Kind: &wire.Frame_Bulk{Bulk: &wire.Bulk{Id: h[FBulk], Size: h[FSize], Frame: uint32(h[FFrame]), Fields: f.body}}}
	case Chunk:
		return &wire.Frame{Kind: &wire.Frame_Chunk{Chunk: f.chunk()}}
	case ChunkAck:
		return &wire.Frame{Kind: &wire.Frame_ChunkAck{ChunkAck: f.chunk()}}
	case BulkGo:
		return &wire.Frame{Kind: &wire.Frame_BulkGo{BulkGo: f.chunk()}}
	case BulkReset:
		return &wire.Frame{Kind: &wire.Frame_BulkReset{BulkReset: f.chunk()}}
	case Leaving:
		return &wire.Frame{Kind: &wire.Frame_Leaving{Leaving: &wire.Leaving{}}}
	case LeavingOK:
		return &wire.Frame{Kind: &wire.Frame_LeavingOk{LeavingOk: &wire.Leaving{}}}
	case Goodbye:
		return &wire.Frame{Kind: &wire.Frame_Goodbye{Goodbye: &wire.Leaving{}}}
	}
	panic(fmt.Sprint("kind ", f.kind))
}

func (f *handFrame) msg() *wire.Msg {
	h := &f.head
	return &wire.Msg{
		Kind: uint32(h[FKind]), Route: uint32(h[FRoute]), Id: h[FID], TimeLeft: h[FTimeLeft], Codec: uint32(h[FCodec]),
		Headers: f.headers(), Hops: uint32(h[FHops]), Starved: h[FStarved] != 0, Choice: h[FChoice], Skipped: f.skipped, CodecName: f.codec, Address: f.address, Body: f.body,
	}
}

func (f *handFrame) chunk() *wire.Chunk {
	return &wire.Chunk{Id: f.head[FBulk], Bytes: f.head[FSize], Refused: uint32(f.head[FRefused]), Data: f.body}
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
	kind, begin, end, err := Next(b)
	if err != nil || end != len(b) {
		t.Fatalf("Next(%x): kind %d, to %d of %d, %v", b, kind, end, len(b), err)
	}
	return kind, b[begin:end]
}

// sameHeader compares headers, of which nil and empty ones are the same.
func sameHeader(a, b Header) bool { return maps.EqualFunc(a, b, slices.Equal[[]string]) }

func headerOf(hs []*wire.Header) Header {
	h := Header{}
	for _, e := range hs {
		key := strings.ToLower(e.GetKey())
		h[key] = append(h[key], e.GetValue())
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
		var p Frame
		if err := p.Parse(inner); err != nil || kind != f.kind {
			t.Fatalf("parse(%x): kind %d, %v", inner, kind, err)
		}
		skipped, err := Numbers(p.Skipped)
		if err != nil {
			t.Fatal(err)
		}
		if p.Head != f.head || !bytes.Equal(p.Body, f.body) || !sameHeader(p.Header, f.header) || fmt.Sprint(skipped) != fmt.Sprint(f.skipped) || string(p.CodecName) != f.codec {
			t.Errorf("read %v %v %v %q %x\nnot  %v %v %v %q %x", p.Head, p.Header, skipped, p.CodecName, p.Body, f.head, f.header, f.skipped, f.codec, f.body)
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
	{"send", handFrame{kind: Msg, head: Head{FKind: 1, FRoute: 7, FTimeLeft: 30000, FCodec: 1}, body: []byte(`"ada"`)}},
	{"request", handFrame{kind: Msg, head: Head{FKind: 2, FRoute: 300, FID: 1<<24 | 5, FTimeLeft: 1, FCodec: 2, FStarved: 1},
		header: Header{"trace": {"abc"}}, body: []byte{8, 42}}},
	{"publish", handFrame{kind: Msg, head: Head{FKind: 3, FRoute: 1, FTimeLeft: 100}, skipped: []uint32{2, 128, 1 << 20}, body: []byte("news")}},
	{"bounce", handFrame{kind: Bounce, head: Head{FKind: 2, FRoute: 7, FID: math.MaxUint64, FTimeLeft: 500, FHops: 16}, header: Header{"k": {"v1", "v2"}}, body: []byte{0}}},
	{"reply", handFrame{kind: Reply, head: Head{FID: 9, FCodec: 1}, header: Header{"k": {"v"}}, body: []byte(`{"x":1}`)}},
	{"question", handFrame{kind: Reply, head: Head{FAsk: 1<<24 | 6, FID: 9, FTimeLeft: 30000, FCodec: 1}, header: Header{"k": {"v"}}, body: []byte(`"which?"`)}},
	{"codec", handFrame{kind: Msg, head: Head{FKind: 1, FRoute: 7, FTimeLeft: 30000, FCodec: 3}, codec: "order", body: []byte{1}}},
	{"codec of a publish", handFrame{kind: Msg, head: Head{FKind: 3, FRoute: 1, FTimeLeft: 100, FCodec: 3}, skipped: []uint32{2}, codec: "ключ", body: []byte("news")}},
	{"codec of a bounce", handFrame{kind: Bounce, head: Head{FKind: 1, FRoute: 7, FTimeLeft: 500, FCodec: 3, FHops: 1}, codec: "order"}},
	{"protobuf", handFrame{kind: Msg, head: Head{FKind: 1, FRoute: 7, FTimeLeft: 30000, FCodec: 2}, codec: "shop.Quote", body: []byte{8, 42}}},
	{"protobuf reply", handFrame{kind: Reply, head: Head{FID: 9, FCodec: 2}, codec: "shop.Price", body: []byte{8, 42}}},
	{"handover", handFrame{kind: Handover, head: Head{FKind: 1, FChoice: 8, FTimeLeft: 500, FCodec: 3, FHops: 1}, header: Header{"k": {"v"}}, codec: "order", address: "greet", body: []byte{0}}},
	{"send by key", handFrame{kind: Msg, head: Head{FKind: 1, FRoute: 7, FTimeLeft: 500, FStarved: 1, FChoice: 1<<40 | 8}, body: []byte{0}}},
	{"request by key", handFrame{kind: Msg, head: Head{FKind: 2, FRoute: 7, FID: 9, FTimeLeft: 500, FChoice: 1<<40 | 8}, body: []byte{0}}},
	{"bounce of a send by key", handFrame{kind: Bounce, head: Head{FKind: 1, FRoute: 7, FTimeLeft: 500, FHops: 1, FChoice: 1<<40 | 8}, body: []byte{0}}},
	{"bulk", handFrame{kind: Bulk, head: Head{FBulk: 9, FSize: 1 << 20, FFrame: Msg}, body: bulkFields()}},
	{"chunk", handFrame{kind: Chunk, head: Head{FBulk: 9}, body: []byte("part")}},
	{"chunk ack", handFrame{kind: ChunkAck, head: Head{FBulk: 9, FSize: 16 << 10}}},
	{"bulk go", handFrame{kind: BulkGo, head: Head{FBulk: 9, FSize: 128 << 10}}},
	{"bulk go for all", handFrame{kind: BulkGo, head: Head{FBulk: 9}}},
	{"bulk taken back", handFrame{kind: BulkReset, head: Head{FBulk: 9}}},
	{"bulk too large", handFrame{kind: BulkReset, head: Head{FBulk: 9, FSize: 256 << 10, FRefused: RefusedLarge}}},
	{"bulk too late", handFrame{kind: BulkReset, head: Head{FBulk: 9, FRefused: RefusedLate}}},
	{"rest", handFrame{kind: Rest, head: Head{FRoute: 7, FResized: 3, FWindow: 16 << 10}}},
	{"window", handFrame{kind: Credit, head: Head{FRoute: 7, FWindow: 128 << 10}}},
	{"codec of a reply", handFrame{kind: Reply, head: Head{FID: 9, FCodec: 3}, codec: strings.Repeat("n", 64), body: []byte{2}}},
	{"cancel of a question", handFrame{kind: Cancel, head: Head{FID: 1<<24 | 6}}},
	{"empty reply", handFrame{kind: Reply, head: Head{FID: 1}}},
	{"error", handFrame{kind: Reply, head: Head{FFailed: 1, FID: 3, FCode: Zigzag(-3)}, body: []byte("no")}},
	{"error with details", handFrame{kind: Reply, head: Head{FFailed: 1, FID: 3, FCode: Zigzag(409), FCodec: 1}, details: []byte(`{"left":2}`), body: []byte("sold out")}},
	{"details of a codec", handFrame{kind: Reply, head: Head{FFailed: 1, FID: 3, FCodec: 3}, codec: "order", details: []byte{1}}},
	{"own error", handFrame{kind: Reply, head: Head{FFailed: 1, FID: 3, FCode: protowire.EncodeZigZag(math.MaxInt64)}}},
	{"lowest error", handFrame{kind: Reply, head: Head{FFailed: 1, FID: 3, FCode: protowire.EncodeZigZag(math.MinInt64)}}},
	{"credit", handFrame{kind: Credit, head: Head{FRoute: 7, FBytes: 131072, FMessages: 500}}},
	{"routes ack", handFrame{kind: RoutesAck, head: Head{FSeq: 3}}},
	{"routes done", handFrame{kind: RoutesDone, head: Head{FRoute: 7}}},
	{"all routes done", handFrame{kind: RoutesDone}},
	{"cancel", handFrame{kind: Cancel, head: Head{FRoute: 7, FID: 1 << 24}}},
	{"ping", handFrame{kind: Ping}},
	{"pong", handFrame{kind: Pong}},
	{"ping with its clock", handFrame{kind: Ping, head: Head{FClock: 1 << 40}}},
	{"pong with both clocks", handFrame{kind: Pong, head: Head{FClock: 1, FHeard: 1 << 40}}},
	{"time", handFrame{kind: Time, head: Head{FClock: math.MaxUint64}}},
	{"leaving", handFrame{kind: Leaving}},
	{"leaving ok", handFrame{kind: LeavingOK}},
	{"goodbye", handFrame{kind: Goodbye}},
	{"many headers", handFrame{kind: Msg, head: Head{FKind: 1, FRoute: 1}, header: Header{"a": {"1", "2", "3"}, "b": {"x"}, "ключ": {"значение"}}}},
	{"empty headers", handFrame{kind: Msg, head: Head{FKind: 1, FRoute: 1}, header: Header{"": {"v"}, "k": {"", "x"}, "none": {""}}}},
	{"long header", handFrame{kind: Msg, head: Head{FKind: 1, FRoute: 1}, header: Header{"k": {strings.Repeat("v", MaxHeader-1)}}}},
	{"largest body", handFrame{kind: Msg, head: Head{FKind: 1, FRoute: 1}, body: bytes.Repeat([]byte{0xff}, 64<<10)}},
}

// bulkFields is what a BULK says of the message that it stands for.
func bulkFields() []byte {
	h := Head{FKind: 1, FRoute: 7, FTimeLeft: 30000}
	return AppendFields(nil, &h, Header{"k": {"v"}}, nil)
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
	f := &handFrame{kind: Msg + r.IntN(Goodbye)}
	h := &f.head
	switch f.kind {
	case Routes:
		f.kind = Ping
	case Msg, Bounce:
		*h = Head{FKind: u32(), FRoute: u32(), FID: u64(), FTimeLeft: u64(), FCodec: u32(), FHops: u32(), FStarved: r.Uint64N(2), FChoice: u64()}
		for range r.IntN(4) {
			f.skipped = append(f.skipped, uint32(u32()))
		}
	case Reply:
		*h = Head{FFailed: u32(), FAsk: u64(), FID: u64(), FTimeLeft: u64(), FCodec: u32(), FCode: u64()}
	case Credit:
		*h = Head{FRoute: u32(), FBytes: u64(), FMessages: u64(), FWindow: u64()}
	case RoutesAck:
		h[FSeq] = u64()
	case RoutesDone:
		h[FRoute] = u32()
	case Cancel:
		h[FRoute], h[FID] = u32(), u64()
	}
	if f.kind == Msg || f.kind == Bounce || f.kind == Reply {
		for range r.IntN(4) {
			if f.header == nil {
				f.header = Header{}
			}
			k := text()
			f.header[k] = append(f.header[k], text())
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
		var p Frame
		if err := p.Parse(b); err != nil || p.Head != f.head || !bytes.Equal(p.Body, f.body) || !sameHeader(p.Header, f.header) {
			t.Errorf("%v %v %x, %v", p.Head, p.Header, p.Body, err)
		}
	}

	entry := protowire.AppendBytes(protowire.AppendTag(bytes.Clone(unknown[:len(unknown)-5]), 1, protowire.BytesType), []byte("K"))
	var p Frame
	if err := p.addHeader(append(entry, 2<<3|2, 1, 'v', 3<<3|2, 1, 'z', 4<<3, 1)); err != nil || !sameHeader(p.Header, Header{"k": {"v"}}) {
		t.Errorf("header %v, %v", p.Header, err)
	}
}

func TestZigzag(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, -1, 2, -3, math.MaxInt32, math.MinInt32, math.MaxInt, math.MinInt} {
		if v := Zigzag(n); v != protowire.EncodeZigZag(int64(n)) || unzigzag(v) != n {
			t.Errorf("%d: %d, back %d", n, v, unzigzag(v))
		}
	}
	for n, want := range map[int64]int{math.MaxInt64: math.MaxInt, math.MinInt64: math.MinInt} {
		if got := unzigzag(protowire.EncodeZigZag(n)); got != want { // as a node of 64 bits may say
			t.Errorf("%d becomes %d", n, got)
		}
	}
}
