package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus/internal/frame"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// FuzzHeader checks that headers survive the wire, that they are charged the
// same on both sides, and that protobuf reads them too.
func FuzzHeader(f *testing.F) {
	f.Add("", "", "", "")
	f.Add("Content-Type", "text/plain", "content-type", "text/html")
	f.Add("ключ", "значение", "İ", "K")
	f.Add("a\xff", "\xff", "\xc3", "x")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		o, err := collect(VerbSend, []CallOption{WithHeader(k1, v1), WithHeader(k2, v2)})
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
		b := frame.Append(nil, frame.Msg, &frame.Head{frame.FRoute: 1}, h, nil, 0)
		_, inner := content(t, b)
		var p frame.Frame
		if err := p.Parse(inner); err != nil || !sameHeader(p.Header, h) || cost(0, p.Header) != cost(0, h) {
			t.Fatalf("%q, charged %d bytes; read %q, charged %d bytes, %v", h, cost(0, h), p.Header, cost(0, p.Header), err)
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
	routes := func(r *wire.Routes) []byte { return marshal(f, r) }
	add := func(num uint32, address string) *wire.Routes_Added {
		return &wire.Routes_Added{Number: num, Address: address, Window: 1 << 10}
	}
	same := routes(&wire.Routes{Seq: 2, Added: []*wire.Routes_Added{add(1, "greet"), add(300, "ping")}, Removed: []uint32{4, 200}, Last: true})
	f.Add(same, same)
	f.Add(routes(&wire.Routes{Seq: 1, Added: []*wire.Routes_Added{add(1, "a"), add(2, "a"), add(3, "b")}, Last: true}), routes(&wire.Routes{Seq: 2, Removed: []uint32{2, 1}}))
	f.Add(routes(&wire.Routes{Seq: 1, Added: []*wire.Routes_Added{add(1, "a")}, Last: true}), routes(&wire.Routes{Seq: 2, Added: []*wire.Routes_Added{add(1, "b")}, Removed: []uint32{1}}))
	f.Add(routes(&wire.Routes{Seq: 1, Added: []*wire.Routes_Added{add(1, "a"), add(1, "a")}}), routes(&wire.Routes{Removed: []uint32{1, 1}}))
	f.Add(routes(&wire.Routes{Added: []*wire.Routes_Added{add(maxRoutes+1, "a"), add(0, ""), {Number: 1, Address: strings.Repeat("a", 256)}}}), []byte{})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		c := newCore(config{log: slog.New(slog.DiscardHandler)})
		l := c.newLink(Peer{Name: "peer", Boot: 2}, nil, nil)
		want, acks := map[uint32]string{}, 0
		for _, b := range [][]byte{first, second} {
			if len(b) > frame.MaxSize {
				return
			}
			_, err := l.routes.got(b)
			if err != nil {
				if !errors.Is(err, frame.ErrMalformed) {
					t.Error(err)
				}
				break
			}
			acks++
			applyRoutes(t, want, b)
			checkDirectory(t, c, want)
		}
		checkAcks(t, l.buf, acks)
		l.routes.dropAll(func() {})
		checkDirectory(t, c, nil)
		if rings := c.rings.dir.all(); len(rings) > 0 {
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
	for _, r := range c.rings.dir.all() {
		for _, rt := range slices.Concat(r.routes.Load().all(), r.routes.Load().hearing().all()) {
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
		kind, _, end, err := frame.Next(b)
		if err != nil || kind != frame.RoutesAck || end > len(b) {
			t.Fatalf("frame of kind %d, %v", kind, err)
		}
		b = b[end:]
	}
	if got != want {
		t.Fatalf("%d acknowledgements of %d", got, want)
	}
}

// The largest message that the limits allow fits a frame.
func TestLargestFrame(t *testing.T) {
	t.Parallel()
	most := frame.Head{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64, 0, math.MaxUint64, math.MaxUint64}
	many, one, short := Header{}, Header{"k": {strings.Repeat("v", frame.MaxHeader-1)}}, Header{}
	for i := range frame.MaxHeaders {
		many.Add(fmt.Sprintf("%08x", i), "12345678")
		short.Add("k", "v")
	}
	for name, h := range map[string]Header{"none": nil, "many": many, "one": one, "short": short} {
		body := make([]byte, chunked)
		if err := newCore(config{bodyLimit: chunked}).checkSize("a message to", "a", h, body); err != nil {
			t.Fatal(err)
		}
		b := append(frame.Append(nil, frame.Msg, &most, h, nil, len(body)), body...)
		if kind, _, end, err := frame.Next(b); err == nil && kind == frame.Pad {
			b = b[end:]
		}
		kind, inner := content(t, b)
		var f frame.Frame
		if err := f.Parse(inner); err != nil || kind != frame.Msg || !sameHeader(f.Header, h) || len(f.Body) != chunked {
			t.Errorf("%s: %v", name, err)
		}
	}
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
	kind, begin, end, err := frame.Next(b)
	if err != nil || end != len(b) {
		t.Fatalf("frame.Next(%x): kind %d, to %d of %d, %v", b, kind, end, len(b), err)
	}
	return kind, b[begin:end]
}

// sameHeader compares headers, of which nil and empty ones are the same.
func sameHeader(a, b Header) bool { return maps.EqualFunc(a, b, slices.Equal[[]string]) }

func headerOf(hs []*wire.Header) Header {
	h := Header{}
	for _, e := range hs {
		h.Add(e.GetKey(), e.GetValue())
	}
	return h
}
