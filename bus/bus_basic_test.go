package bus_test

import (
	"context"
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// Whoever sends, publishes or replies, a body of any type comes out as what it
// was.
func TestBodiesOfEveryType(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		got := make(chan *bus.Message, 1)
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			if !m.WantsReply() {
				got <- m
				return nil
			}
			var raw json.RawMessage
			if m.Decode(&raw) == nil {
				return m.Reply(ctx, raw)
			}
			return m.Reply(ctx, m.Body)
		})
		huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
		for _, body := range []any{
			true, "text", "", []byte("bytes"), 'ж', int8(math.MinInt8), int16(math.MinInt16), int32(math.MinInt32),
			int64(math.MinInt64), uint8(math.MaxUint8), uint16(math.MaxUint16), uint32(math.MaxUint32), uint64(math.MaxUint64),
			float32(math.MaxFloat32), math.MaxFloat64, math.SmallestNonzeroFloat64, huge, json.Number("3.14159265358979323846264"),
			map[string]any{"a": "b", "n": nil, "l": []any{1.5, true}}, []string{"x", "y"}, point{3, 4}, &point{5, 6}, time.Unix(1<<33, 7).UTC(),
			[]*point{nil, {1, 2}},
		} {
			same := func(how string, m *bus.Message) {
				t.Helper()
				v := reflect.New(reflect.TypeOf(body))
				if err := m.Decode(v.Interface()); err != nil || !reflect.DeepEqual(v.Elem().Interface(), body) {
					t.Errorf("%s of %T %v: %v, %v", how, body, body, v.Elem(), err)
				}
			}
			if err := p.from.Send(t.Context(), "a", body); err != nil {
				t.Fatal(err)
			}
			same("send", receive(t, got))
			if err := p.from.Publish(t.Context(), "a", body); err != nil {
				t.Fatal(err)
			}
			same("publish", receive(t, got))
			m, err := p.from.Request(t.Context(), "a", body)
			if err != nil {
				t.Fatal(err)
			}
			same("reply", m)
		}
		if err := p.from.Send(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		if m := receive(t, got); len(m.Body) != 0 {
			t.Errorf("nil came as %q", m.Body)
		}
	})
}

// Text of random characters arrives as it was.
func TestTextOfAnyCharacter(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		consume(t, p.to, "echo", bus.Respond(func(_ context.Context, s string) (string, error) { return s, nil }).Handle)
		r := rand.New(rand.NewPCG(1, 2))
		for range 100 {
			text := make([]rune, 100+r.IntN(900))
			for i := range text {
				for text[i] = 0xd800; text[i] >= 0xd800 && text[i] < 0xe000; { // surrogates are no characters
					text[i] = r.Int32N(0x110000)
				}
			}
			if s, err := bus.Request[string](t.Context(), p.from, "echo", string(text)); err != nil || s != string(text) {
				t.Fatalf("%q came back as %q, %v", string(text), s, err)
			}
		}
	})
}

// An address is the whole of its text: neither a beginning of it nor a pattern.
func TestAddressIsExact(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		var wrong atomic.Int32
		for _, a := range []string{"new", "news.", "news.*", "News", "news.sport"} {
			consume(t, p.to, a, func(context.Context, *bus.Message) error { wrong.Add(1); return nil })
		}
		got := make(chan string, 2)
		consume(t, p.to, "news", func(_ context.Context, m *bus.Message) error { got <- m.Address(); return nil })
		if err := p.from.Send(t.Context(), "news", nil); err != nil {
			t.Fatal(err)
		}
		if err := p.from.Publish(t.Context(), "news", nil); err != nil {
			t.Fatal(err)
		}
		if a, b := receive(t, got), receive(t, got); a != "news" || b != "news" {
			t.Errorf("addresses %q, %q", a, b)
		}
		if n := wrong.Load(); n > 0 {
			t.Errorf("%d came to other addresses", n)
		}
	})
}

// A handler that is registered three times is three consumers.
func TestSameHandlerThreeTimes(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		var thrice, once atomic.Int32
		for range 3 {
			consume(t, p.to, "a", func(context.Context, *bus.Message) error { thrice.Add(1); return nil })
		}
		consume(t, p.to, "a", func(context.Context, *bus.Message) error { once.Add(1); return nil })
		for range 40 {
			if err := p.from.Send(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
		}
		within(t, "all sends", func() bool { return thrice.Load() == 30 && once.Load() == 10 })
		if err := p.from.Publish(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		within(t, "four copies", func() bool { return thrice.Load() == 33 && once.Load() == 11 })
	})
}

// Ten consumers take a hundred sends in equal shares.
func TestTenConsumersTakeTurns(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		var got [10]atomic.Int32
		for i := range got {
			consume(t, p.to, "a", func(context.Context, *bus.Message) error { got[i].Add(1); return nil })
		}
		for range 100 {
			if err := p.from.Send(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
		}
		within(t, "ten each", func() bool {
			for i := range got {
				if got[i].Load() != 10 {
					return false
				}
			}
			return true
		})
	})
}

// Of several consumers one that closes gets nothing any more, and the others go
// on.
func TestCloseOneOfSeveral(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		var got [3]atomic.Int32
		var consumers [3]*bus.Consumer
		for i := range got {
			consumers[i] = consume(t, p.to, "a", func(context.Context, *bus.Message) error { got[i].Add(1); return nil })
		}
		if err := consumers[1].Close(); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := p.from.Request(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := got[0].Load(), got[2].Load(); a+b != 20 || a < 8 || b < 8 { // the first one may have been sent back
			t.Errorf("the others got %d and %d", a, b)
		}
		if err := p.from.Publish(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		within(t, "a copy each", func() bool { return got[0].Load()+got[2].Load() == 22 })
		if n := got[1].Load(); n > 0 {
			t.Errorf("the closed one got %d", n)
		}
	})
}

// A handler that sends to its own address does not get the message before it
// has returned.
func TestSendToSelfIsNotReentrant(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		inside, done := 0, make(chan struct{})
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			if inside++; inside > 1 {
				t.Error("called within itself")
			}
			defer func() { inside-- }()
			if string(m.Body) == "second" {
				close(done)
				return nil
			}
			return p.to.Send(ctx, "a", []byte("second"))
		})
		if err := p.from.Send(t.Context(), "a", []byte("first")); err != nil {
			t.Fatal(err)
		}
		receive(t, done)
	})
}

// What is done to a body, or to options, after the call changes nothing that was
// sent; what a receiver does to what it decoded no other receiver sees.
func TestChangesAfterTheCallAreNotSeen(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		type body struct{ List []int }
		got := make(chan body, 3)
		block := make(chan struct{})
		for range 2 {
			consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
				<-block
				var b body
				if err := m.Decode(&b); err != nil {
					return err
				}
				b.List = append(b.List, int(m.Header().Get("k")[0]))
				got <- body{slices.Clone(b.List)}
				b.List[0] = 99 // its own copy
				if !m.WantsReply() {
					return nil
				}
				err := m.Reply(ctx, &b)
				b.List[1] = 98
				return err
			})
		}
		sent := body{[]int{1, 2}}
		opts := []bus.CallOption{bus.WithHeader("k", "A")}
		if err := p.from.Publish(t.Context(), "a", &sent, opts...); err != nil {
			t.Fatal(err)
		}
		sent.List[0], sent.List = 7, append(sent.List, 8)
		opts[0] = bus.WithHeader("k", "B")
		close(block)
		for range 2 {
			if b := receive(t, got); !slices.Equal(b.List, []int{1, 2, 'A'}) {
				t.Errorf("got %v", b.List)
			}
		}
		sent.List = []int{1, 2}
		b, err := bus.Request[body](t.Context(), p.from, "a", &sent, opts...)
		if err != nil || !slices.Equal(b.List, []int{99, 2, 'B'}) || !slices.Equal(sent.List, []int{1, 2}) {
			t.Errorf("the reply is %v, %v; what was sent %v", b, err, sent)
		}
	})
}
