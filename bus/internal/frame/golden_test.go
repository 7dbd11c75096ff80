package frame

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus/internal/wire"
)

// golden reads the frames of a protocol version: their names and bytes.
func golden(t testing.TB, version int) map[string][]byte {
	t.Helper()
	file, err := os.Open(fmt.Sprintf("testdata/protocol%d.hex", version))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	return readGolden(t, file)
}

func readGolden(t testing.TB, r io.Reader) map[string][]byte {
	t.Helper()
	frames := map[string][]byte{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		name, text, ok := strings.Cut(lines.Text(), ":")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		b, err := hex.DecodeString(strings.TrimSpace(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		frames[name] = b
	}
	return frames
}

// The bytes of a protocol version never change: what was written once is read
// and written the same by every later version that speaks it.
func TestGolden(t *testing.T) {
	t.Parallel()
	frames := golden(t, 1)
	seen := map[int]bool{}
	for _, c := range wireFrames {
		want, ok := frames[c.name]
		if !ok {
			continue
		}
		delete(frames, c.name)
		seen[c.kind] = true
		if got := c.encode(); !bytes.Equal(got, want) {
			t.Errorf("%s: by hand %x, golden %x", c.name, got, want)
		}
		if got := marshal(t, c.message()); !bytes.Equal(got, want) {
			t.Errorf("%s: protobuf %x, golden %x", c.name, got, want)
		}
		kind, inner := content(t, want)
		var f Frame
		if err := f.Parse(inner); err != nil || kind != c.kind || f.Head != c.head || string(f.CodecName) != c.codec || string(f.Address) != c.address || !bytes.Equal(f.Details, c.details) || !sameHeader(f.Header, c.header) || !bytes.Equal(f.Body, c.body) {
			t.Errorf("%s: read as kind %d %v %v %x, %v", c.name, kind, f.Head, f.Header, f.Body, err)
		}
	}
	for name, m := range map[string]proto.Message{"routes": goldenRoutes(), "routes of what hears publishes only": goldenPublished(), "gossip": goldenGossip(), "gossip codec": goldenGossipCodec(), "pad": goldenPad()} {
		want := frames[name]
		delete(frames, name)
		if got := marshal(t, m); !bytes.Equal(got, want) {
			t.Errorf("%s: %x, golden %x", name, got, want)
		}
		got := m.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(want, got); err != nil || !proto.Equal(got, m) {
			t.Errorf("%s: read as %v, %v", name, got, err)
		}
	}
	if got := AppendPad(nil, Alignment-3-4); !bytes.Equal(got, marshal(t, goldenPad())) {
		t.Errorf("pad: by hand %x", got)
	}
	seen[Routes] = true
	seen[Pad] = true
	for kind := Msg; kind <= Time; kind++ {
		if !seen[kind] {
			t.Errorf("no golden frame of kind %d", kind)
		}
	}
	if len(frames) > 0 {
		t.Errorf("frames that no test writes: %v", frames)
	}
}

func goldenRoutes() *wire.Frame {
	return &wire.Frame{Kind: &wire.Frame_Routes{Routes: &wire.Routes{
		Seq:     2,
		Added:   []*wire.Routes_Added{{Number: 1, Address: "greet", Window: 256 << 10}, {Number: 300, Address: "ping", Window: 1 << 10}},
		Removed: []uint32{4, 200},
		Last:    true,
	}}}
}

func goldenPublished() *wire.Frame {
	return &wire.Frame{Kind: &wire.Frame_Routes{Routes: &wire.Routes{
		Seq:   3,
		Added: []*wire.Routes_Added{{Number: 2, Address: "news", Published: true}, {Number: 3, Address: "news", Window: 1 << 10, Published: true}},
	}}}
}

func goldenPad() *wire.Frame {
	return &wire.Frame{Kind: &wire.Frame_Pad{Pad: make([]byte, 4)}}
}

func goldenGossip() *wire.Gossip {
	return &wire.Gossip{
		Boot: 0x0123456789abcdef, Seq: 1, Sent: 1700000000000, Address: "news", Codec: 1,
		Headers: []*wire.Header{{Key: "k", Value: "v"}}, Body: []byte(`"hi"`),
	}
}

func goldenGossipCodec() *wire.Gossip {
	g := goldenGossip()
	g.Codec, g.CodecName = 3, "order"
	return g
}
