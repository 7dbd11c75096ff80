package bus

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
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
		kind, begin, end, err := nextFrame(b)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Error(err)
			}
			return
		}
		if end == 0 || end > len(b) {
			return // more is needed
		}
		if kind < 1 || begin < 2 || begin > end || end-begin > maxFrame {
			t.Fatalf("kind %d from %d to %d of %d", kind, begin, end, len(b))
		}
		inner := bytes.Clone(b[begin:end])
		var p frame
		err = p.parse(inner)
		if !bytes.Equal(inner, b[begin:end]) {
			t.Fatal("parse changed its input")
		}
		switch m := contentOf(kind).(type) {
		case *wire.Msg:
			checkParsed(t, inner, m, &p, err, func() bool {
				return uint32(p.head[fKind]) == m.Kind && uint32(p.head[fRoute]) == m.Route && p.head[fID] == m.Id &&
					p.head[fTimeLeft] == m.TimeLeft && uint32(p.head[fCodec]) == m.Codec && uint32(p.head[fHops]) == m.Hops &&
					p.head[fStarved] != 0 == m.Starved && bytes.Equal(p.body, m.Body) && sameHeader(p.header, headerOf(m.Headers)) &&
					string(p.codecName) == m.CodecName && sameSkipped(&p, m)
			})
		case *wire.Reply:
			checkParsed(t, inner, m, &p, err, func() bool {
				return uint32(p.head[fFailed]) == m.Failed && p.head[fID] == m.Id && uint32(p.head[fCodec]) == m.Codec &&
					p.head[fAsk] == m.Ask && p.head[fTimeLeft] == m.TimeLeft && string(p.codecName) == m.CodecName &&
					int64(unzigzag(p.head[fCode])) == m.Code && bytes.Equal(p.body, m.Body) && sameHeader(p.header, headerOf(m.Headers))
			})
		case *wire.Credit:
			checkParsed(t, inner, m, &p, err, func() bool {
				return uint32(p.head[fRoute]) == m.Route && p.head[fBytes] == m.Bytes && p.head[fMessages] == m.Messages
			})
		case *wire.RoutesAck:
			checkParsed(t, inner, m, &p, err, func() bool { return p.head[fSeq] == m.Seq })
		case *wire.RoutesDone:
			checkParsed(t, inner, m, &p, err, func() bool { return uint32(p.head[fRoute]) == m.Route })
		case *wire.Cancel:
			checkParsed(t, inner, m, &p, err, func() bool { return uint32(p.head[fRoute]) == m.Route && p.head[fID] == m.Id })
		}
	})
}

// checkParsed checks that parse takes what protobuf takes, and the same out of it.
func checkParsed(t *testing.T, inner []byte, m proto.Message, p *frame, err error, same func() bool) {
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
		t.Fatalf("protobuf reads %v; by hand: %v %v %x %x", m, p.head, p.header, p.skipped, p.body)
	}
}

// sameSkipped compares the numbers of a publish. Those that are over 32 bits
// protobuf cuts, and numbers refuses.
func sameSkipped(p *frame, m *wire.Msg) bool {
	ns, err := numbers(p.skipped)
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

// FuzzHeader checks that headers survive the wire, that they are charged the
// same on both sides, and that protobuf reads them too.
func FuzzHeader(f *testing.F) {
	f.Add("", "", "", "")
	f.Add("Content-Type", "text/plain", "content-type", "text/html")
	f.Add("ключ", "значение", "İ", "K")
	f.Add("a\xff", "\xff", "\xc3", "x")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		o, err := collect(verbSend, []CallOption{WithHeader(k1, v1), WithHeader(k2, v2)})
		if err != nil {
			t.Fatal(err)
		}
		h := o.header
		if h.Get(k1) != v1 || h.Values(k2)[len(h.Values(k2))-1] != v2 {
			t.Fatalf("%q %q %q %q: %v", k1, v1, k2, v2, h)
		}
		if err := newCore(config{bodyLimit: chunked}).checkSize("a message to", "a", h, nil); err != nil {
			if !errors.Is(err, ErrTooLarge) && validUTF8(h) && h.Values("") == nil {
				t.Fatalf("%q: %v", h, err)
			}
			return
		}
		b := appendFrame(nil, frameMsg, &head{fRoute: 1}, h, nil, 0)
		_, inner := content(t, b)
		var p frame
		if err := p.parse(inner); err != nil || !sameHeader(p.header, h) || cost(0, p.header) != cost(0, h) {
			t.Fatalf("%q, charged %d bytes; read %q, charged %d bytes, %v", h, cost(0, h), p.header, cost(0, p.header), err)
		}
		var m wire.Msg
		if err := proto.Unmarshal(inner, &m); err != nil || !sameHeader(headerOf(m.Headers), h) {
			t.Fatalf("%q; protobuf reads %q, %v", h, headerOf(m.Headers), err)
		}
		h.Del(k1)
		if h.Values(k1) != nil {
			t.Fatalf("%q is there after Del: %v", k1, h)
		}
	})
}

func validUTF8(h Header) bool {
	for k, vs := range h {
		if strings.ToValidUTF8(k, "") != k {
			return false
		}
		for _, v := range vs {
			if strings.ToValidUTF8(v, "") != v {
				return false
			}
		}
	}
	return true
}

// FuzzRoutes feeds ROUTES to a link: what is taken over is what they say, it is
// acknowledged, and when the link ends nothing is left.
func FuzzRoutes(f *testing.F) {
	_, inner := content(f, golden(f, 1)["routes"])
	f.Add(inner, inner)
	routes := func(r *wire.Routes) []byte { return marshal(f, r) }
	add := func(num uint32, address string) *wire.Routes_Added {
		return &wire.Routes_Added{Number: num, Address: address, Window: 1 << 10}
	}
	f.Add(routes(&wire.Routes{Seq: 1, Added: []*wire.Routes_Added{add(1, "a"), add(2, "a"), add(3, "b")}, Last: true}), routes(&wire.Routes{Seq: 2, Removed: []uint32{2, 1}}))
	f.Add(routes(&wire.Routes{Seq: 1, Added: []*wire.Routes_Added{add(1, "a")}, Last: true}), routes(&wire.Routes{Seq: 2, Added: []*wire.Routes_Added{add(1, "b")}, Removed: []uint32{1}}))
	f.Add(routes(&wire.Routes{Seq: 1, Added: []*wire.Routes_Added{add(1, "a"), add(1, "a")}}), routes(&wire.Routes{Removed: []uint32{1, 1}}))
	f.Add(routes(&wire.Routes{Added: []*wire.Routes_Added{add(maxRoutes+1, "a"), add(0, ""), {Number: 1, Address: strings.Repeat("a", 256)}}}), []byte{})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		c := newCore(config{log: slog.New(slog.DiscardHandler)})
		l := c.newLink(Peer{Name: "peer", Boot: 2}, nil, nil)
		want, acks := map[uint32]string{}, 0
		for _, b := range [][]byte{first, second} {
			if len(b) > maxFrame {
				return
			}
			err := l.gotRoutes(b)
			if err != nil {
				if !errors.Is(err, errMalformed) {
					t.Error(err)
				}
				break
			}
			acks++
			applyRoutes(t, want, b)
			checkDirectory(t, c, want)
		}
		checkAcks(t, l.buf, acks)
		l.dropAllRoutes(func() {})
		checkDirectory(t, c, nil)
		if rings := c.dir.all(); len(rings) > 0 {
			t.Fatalf("%d addresses are left", len(rings))
		}
	})
}

// applyRoutes is the specification of what ROUTES change.
func applyRoutes(t *testing.T, have map[uint32]string, b []byte) {
	t.Helper()
	var r wire.Routes
	if err := proto.Unmarshal(b, &r); err != nil {
		t.Fatalf("taken, though protobuf says %v", err)
	}
	for _, n := range r.Removed {
		if _, ok := have[n]; !ok {
			t.Fatalf("route %d was removed, which was not there", n)
		}
		delete(have, n)
	}
	for _, a := range r.Added {
		if _, ok := have[a.Number]; ok || a.Number == 0 || a.Number > maxRoutes || checkAddress(a.Address) != nil || a.Window == 0 {
			t.Fatalf("route %v was added", a)
		}
		have[a.Number] = a.Address
	}
}

// checkDirectory checks that the routes of the bus are those, by number.
func checkDirectory(t *testing.T, c *core, want map[uint32]string) {
	t.Helper()
	n := 0
	for _, r := range c.dir.all() {
		for _, rt := range r.routes.Load().all() {
			n++
			if want[rt.num] != r.address || rt.removed || rt.used != 0 {
				t.Fatalf("route %d of %q (removed: %v, credit %d of %d), not of %q", rt.num, r.address, rt.removed, rt.credit(), rt.window, want[rt.num])
			}
		}
	}
	if n != len(want) {
		t.Fatalf("%d routes, not %d", n, len(want))
	}
}

func checkAcks(t *testing.T, b []byte, want int) {
	t.Helper()
	got := 0
	for ; len(b) > 0; got++ {
		kind, _, end, err := nextFrame(b)
		if err != nil || kind != frameRoutesAck || end > len(b) {
			t.Fatalf("frame of kind %d, %v", kind, err)
		}
		b = b[end:]
	}
	if got != want {
		t.Fatalf("%d acknowledgements of %d", got, want)
	}
}
