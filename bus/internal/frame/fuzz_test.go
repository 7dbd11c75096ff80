package frame

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus/internal/wire"
)

// seedGolden gives the fuzzer the golden frames, in a fixed order.
func seedGolden(f *testing.F, add func(b []byte)) {
	f.Helper()
	frames := golden(f, 1)
	for _, name := range slices.Sorted(maps.Keys(frames)) {
		add(frames[name])
	}
}

// FuzzFrame checks that no input makes the reading of a frame panic, that it
// stays within the input, and that it reads what protobuf reads.
func FuzzFrame(f *testing.F) {
	seedGolden(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, begin, end, err := Next(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Error(err)
			}
			return
		}
		if end == 0 || end > len(b) {
			return // more is needed
		}
		if kind < 1 || begin < 2 || begin > end || end-begin > MaxSize {
			t.Fatalf("kind %d from %d to %d of %d", kind, begin, end, len(b))
		}
		inner := bytes.Clone(b[begin:end])
		var p Frame
		err = p.Parse(inner)
		if !bytes.Equal(inner, b[begin:end]) {
			t.Fatal("parse changed its input")
		}
		switch m := contentOf(kind).(type) {
		case *wire.Msg:
			checkParsed(t, inner, m, &p, err, func() bool {
				return uint32(p.Kind()) == m.Kind && uint32(p.Route()) == m.Route && p.ID() == m.Id &&
					p.TimeLeft() == m.TimeLeft && uint32(p.Codec()) == m.Codec && uint32(p.Hops()) == m.Hops &&
					p.Starved() == m.Starved && p.Choice() == m.Choice && bytes.Equal(p.Body, m.Body) && sameHeader(p.Header, headerOf(m.Headers)) &&
					string(p.CodecName) == m.CodecName && sameSkipped(&p, m)
			})
		case *wire.Reply:
			checkParsed(t, inner, m, &p, err, func() bool {
				return uint32(p.Head[FFailed]) == m.Failed && p.ID() == m.Id && uint32(p.Codec()) == m.Codec &&
					bytes.Equal(p.Details, m.Details) && p.Ask() == m.Ask && p.TimeLeft() == m.TimeLeft && string(p.CodecName) == m.CodecName &&
					protowire.DecodeZigZag(p.Head[FCode]) == m.Code && bytes.Equal(p.Body, m.Body) && sameHeader(p.Header, headerOf(m.Headers))
			})
		case *wire.Credit:
			checkParsed(t, inner, m, &p, err, func() bool {
				return uint32(p.Route()) == m.Route && p.Bytes() == m.Bytes && p.Messages() == m.Messages && p.Window() == m.Window
			})
		case *wire.Rest:
			checkParsed(t, inner, m, &p, err, func() bool {
				return uint32(p.Route()) == m.Route && p.Resized() == m.Resized && p.Window() == m.Window
			})
		case *wire.Bulk:
			checkParsed(t, inner, m, &p, err, func() bool {
				return p.Bulk() == m.Id && p.Size() == m.Size && uint32(p.StandsFor()) == m.Frame && bytes.Equal(p.Body, m.Fields)
			})
		case *wire.Chunk:
			checkParsed(t, inner, m, &p, err, func() bool {
				return p.Bulk() == m.Id && p.Size() == m.Bytes && uint32(p.Refused()) == m.Refused && bytes.Equal(p.Body, m.Data)
			})
		case *wire.Ping:
			checkParsed(t, inner, m, &p, err, func() bool { return p.Clock() == m.Clock && p.Heard() == m.Heard })
		case *wire.RoutesAck:
			checkParsed(t, inner, m, &p, err, func() bool { return p.Seq() == m.Seq })
		case *wire.RoutesDone:
			checkParsed(t, inner, m, &p, err, func() bool { return uint32(p.Route()) == m.Route })
		case *wire.Cancel:
			checkParsed(t, inner, m, &p, err, func() bool { return uint32(p.Route()) == m.Route && p.ID() == m.Id })
		}
	})
}

// checkParsed checks that parse takes what protobuf takes, and the same out of it.
func checkParsed(t *testing.T, inner []byte, m proto.Message, p *Frame, err error, same func() bool) {
	if proto.Unmarshal(inner, m) != nil {
		return
	}
	if m.ProtoReflect().Descriptor().Fields().ByNumber(fieldHeaders) == nil && fields(inner, fieldHeaders) > 0 {
		return // one parser serves all frames: where there are headers, they must be well formed
	}
	if err != nil {
		t.Fatalf("protobuf reads %v; by hand: %v", m, err)
	}
	if !same() {
		t.Fatalf("protobuf reads %v; by hand: %v %v %x %x", m, p.Head, p.Header, p.Skipped, p.Body)
	}
}

// sameSkipped compares the numbers of a publish. Those that are over 32 bits
// protobuf cuts, and numbers refuses.
func sameSkipped(p *Frame, m *wire.Msg) bool {
	ns, err := Numbers(p.Skipped)
	return err != nil || slices.Equal(ns, m.Skipped)
}

// fields counts the fields of a number in a message that is well formed.
func fields(b []byte, num protowire.Number) (count int) {
	for len(b) > 0 {
		got, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return count
		}
		if got == num {
			count++
		}
		b = b[n:]
	}
	return count
}
