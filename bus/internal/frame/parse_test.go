package frame

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus/internal/wire"
)

// A stream that ends anywhere within a frame is incomplete, and a frame that
// ends within a field is malformed, as protobuf says too.
func TestTruncation(t *testing.T) {
	t.Parallel()
	for _, c := range wireFrames {
		b := c.encode()
		if len(b) > 1000 {
			continue
		}
		for i := range b {
			if _, _, end, err := Next(b[:i]); err != nil || end != 0 && end <= i {
				t.Errorf("%s: %d of %d bytes: to %d, %v", c.name, i, len(b), end, err)
			}
		}
		kind, inner := content(t, b)
		for i := range inner {
			var p Frame
			hand := p.Parse(inner[:i])
			generated := proto.Unmarshal(inner[:i], contentOf(kind))
			if (hand == nil) != (generated == nil) {
				t.Errorf("%s: %d of %d bytes of content: %v, protobuf %v", c.name, i, len(inner), hand, generated)
			}
			if hand != nil && !errors.Is(hand, ErrMalformed) {
				t.Errorf("%s: %d of %d bytes of content: %v", c.name, i, len(inner), hand)
			}
		}
	}
}

// contentOf returns an empty message of what frames of a kind hold; nil if that is none.
func contentOf(kind int) proto.Message {
	var f wire.Frame
	num := protowire.Number(kind)
	if err := proto.Unmarshal(protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), nil), &f); err != nil {
		return nil
	}
	r := f.ProtoReflect()
	if d := r.Descriptor().Fields().ByNumber(num); d != nil && d.Message() != nil {
		return r.Get(d).Message().Interface()
	}
	return nil
}

func TestMalformedFrames(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte{0x80}, 12)
	sized := func(n int) []byte { return protowire.AppendVarint([]byte{Msg<<3 | 2}, uint64(n)) }
	for _, c := range []struct {
		name  string
		b     []byte
		wrong bool
	}{
		{"nothing", nil, false},
		{"one byte", []byte{0x0a}, false},
		{"varint field", []byte{Msg << 3, 1}, true},
		{"group", []byte{Msg<<3 | 3, 1}, true},
		{"field 0", []byte{2, 0}, true},
		{"text", []byte("GET / HTTP/1.1\r\n\r\n"), true},
		{"TLS", []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, true},
		{"endless tag", long, true},
		{"endless length", append([]byte{0x0a}, long...), true},
		{"tag that goes on", long[:9], false},
		{"largest", sized(MaxSize), false},
		{"too large", sized(MaxSize + 1), true},
		{"far too large", sized(math.MaxInt), true},
		{"largest number", append([]byte{0x0a}, protowire.AppendVarint(nil, math.MaxUint64)...), true},
	} {
		kind, begin, end, err := Next(c.b)
		if (err != nil) != c.wrong || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: kind %d from %d to %d, %v", c.name, kind, begin, end, err)
		}
		if err == nil && end != 0 && end <= len(c.b) {
			t.Errorf("%s: it is complete, to %d", c.name, end)
		}
	}
	for name, b := range map[string][]byte{
		"field 0":                {0, 1},
		"end of group":           {1<<3 | 4},
		"group without end":      {100<<3&0x7f | 0x80 | 3, 6},
		"length without field":   {15<<3 | 2, 200, 1},
		"length near overflow":   append([]byte{15<<3 | 2}, protowire.AppendVarint(nil, math.MaxUint64)...),
		"header without end":     {fieldHeaders<<3 | 2, 2, 1<<3 | 2, 9},
		"header of field 0":      {fieldHeaders<<3 | 2, 2, 2, 0},
		"header of a broken tag": {fieldHeaders<<3 | 2, 1, 0x80},
		"wire type 7":            {1<<3 | 7, 0},
	} {
		var f Frame
		if err := f.Parse(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string][]byte{"unfinished": {0x80}, "over 32 bits": protowire.AppendVarint(nil, 1<<32)} {
		if ns, err := Numbers(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("skipped numbers, %s: %v, %v", name, ns, err)
		}
	}
}

// Every writing of a repeated number that protobuf allows is read: packed, in
// several parts, and one by one.
func TestSkippedUnpacked(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"one by one": {fieldSkipped << 3, 5, fieldSkipped << 3, 6},
		"in parts":   protowire.AppendBytes([]byte{fieldSkipped<<3 | 2, 1, 5, fieldSkipped<<3 | 2}, []byte{6}),
	} {
		var f Frame
		if err := f.Parse(b); err != nil {
			t.Fatal(err)
		}
		if ns, err := Numbers(f.Skipped); err != nil || !slices.Equal(ns, []uint32{5, 6}) {
			t.Errorf("%s: %v, %v", name, ns, err)
		}
	}
}
