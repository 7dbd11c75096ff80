package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/runrig-go/runrig/bus"
)

// refuses is a body whose own encoding fails.
type refuses struct{}

var errRefuses = errors.New("it refuses")

func (refuses) MarshalJSON() ([]byte, error) { return nil, errRefuses }

// A body that cannot be encoded is an error of the call, whatever the verb, and
// names its type.
func TestUnencodable(t *testing.T) {
	t.Parallel()
	eb := bus.New(quiet)
	t.Cleanup(func() { eb.Close() })
	handled := make(chan struct{}, 1)
	if _, err := eb.Consume("a", bus.HandlerFunc(func(context.Context, *bus.Message) error { handled <- struct{}{}; return nil })); err != nil {
		t.Fatal(err)
	}
	loop := map[string]any{}
	loop["self"] = loop
	for _, c := range []struct {
		name  string
		body  any
		typed string // in the error
		is    error
	}{
		{"function", func() {}, "func()", nil},
		{"channel", make(chan int), "chan int", nil},
		{"NaN", math.NaN(), "float64", nil},
		{"within", map[string]any{"f": func() {}}, "map[string]interface {}", nil},
		{"loop", loop, "map[string]interface {}", nil},
		{"own error", refuses{}, "bus_test.refuses", errRefuses},
		{"protobuf by value", structpb.Value{}, "structpb.Value", nil},
		{"not UTF-8", wrapperspb.String("\xff"), "*wrapperspb.StringValue", nil},
		{"nil protobuf", (*wrapperspb.StringValue)(nil), "nil *wrapperspb.StringValue", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, asked := eb.Request(t.Context(), "a", c.body)
			for verb, err := range map[string]error{
				"Send": eb.Send(t.Context(), "a", c.body), "Publish": eb.Publish(t.Context(), "a", c.body),
				"Gossip": eb.Publish(t.Context(), "a", c.body, bus.Gossip()), "Request": asked,
			} {
				if err == nil || !strings.Contains(err.Error(), c.typed) || c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("%s: %v", verb, err)
				}
			}
		})
	}
	if len(handled) > 0 {
		t.Error("something was sent")
	}
}

// What goes in comes out, where the types are for each other.
func TestDecode(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		consume(t, p.to, "echo", func(ctx context.Context, m *bus.Message) error {
			if strings.HasPrefix(string(m.Body), "\x0a") { // a protobuf string, whose codec bytes do not tell
				var v wrapperspb.StringValue
				if err := m.Decode(&v); err == nil {
					return m.Reply(ctx, &v)
				}
			}
			var raw json.RawMessage
			if m.Decode(&raw) == nil && len(raw) > 0 {
				return m.Reply(ctx, raw)
			}
			return m.Reply(ctx, m.Body)
		})
		ask := func(body any) *bus.Message {
			t.Helper()
			m, err := p.from.Request(t.Context(), "echo", body)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		var (
			s        string
			n        int
			anything any
			raw      []byte
			pt       point
			str      wrapperspb.StringValue
			other    wrapperspb.Int64Value
		)
		for _, c := range []struct {
			name string
			body any
			into any
			ok   bool
			got  func() bool
		}{
			{"string", "ada", &s, true, func() bool { return s == "ada" }},
			{"struct", point{1, 2}, &pt, true, func() bool { return pt == point{1, 2} }},
			{"pointer", &point{3, 4}, &pt, true, func() bool { return pt == point{3, 4} }},
			{"null", (*point)(nil), &pt, true, func() bool { return pt == point{3, 4} }},
			{"anything", []int{1}, &anything, true, func() bool { return len(anything.([]any)) == 1 }},
			{"bytes", []byte("raw"), &raw, true, func() bool { return string(raw) == "raw" }},
			{"protobuf", wrapperspb.String("p"), &str, true, func() bool { return str.Value == "p" }},
			{"nothing", nil, &n, true, func() bool { return n == 0 }},
			{"no bytes", []byte{}, &raw, true, func() bool { return len(raw) == 0 }},
			{"JSON that does not fit", "x", &n, false, nil},
			{"JSON into bytes", "x", &raw, false, nil},
			{"JSON into protobuf", "x", &str, false, nil},
			{"JSON into nothing", "x", nil, false, nil},
			{"JSON into no pointer", "x", n, false, nil},
			{"bytes into a string", []byte("x"), &s, false, nil},
			{"bytes into protobuf", []byte("x"), &str, false, nil},
			{"protobuf into a struct", wrapperspb.String("p"), &pt, false, nil},
			{"protobuf into bytes", wrapperspb.String("p"), &raw, false, nil},
			{"protobuf of another type", wrapperspb.String("p"), &other, false, nil},
		} {
			if err := ask(c.body).Decode(c.into); (err == nil) != c.ok {
				t.Errorf("%s: %v", c.name, err)
			} else if c.ok && !c.got() {
				t.Errorf("%s: it is something else", c.name)
			}
		}
	})
}

// A body that the handler's type cannot take is answered with CodeBody, and the
// handler does not run; of a send it is counted.
func TestBodyThatDoesNotFit(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		ran := func(what string) { t.Errorf("the handler of %s ran", what) }
		for address, h := range map[string]bus.Handler{
			"int":      bus.Respond(func(context.Context, int) (int, error) { ran("int"); return 0, nil }),
			"struct":   bus.Receive(func(context.Context, point) error { ran("struct"); return nil }),
			"bytes":    bus.Receive(func(context.Context, []byte) error { ran("bytes"); return nil }),
			"protobuf": bus.Receive(func(context.Context, *wrapperspb.StringValue) error { ran("protobuf"); return nil }),
		} {
			consume(t, p.to, address, h.Handle)
		}
		cases := []struct {
			address string
			body    any
		}{
			{"int", "x"}, {"int", []byte("1")}, {"int", wrapperspb.String("1")},
			{"struct", []int{1}}, {"struct", map[string]string{"X": "x"}},
			{"bytes", "x"}, {"bytes", wrapperspb.String("x")},
			{"protobuf", "x"}, {"protobuf", []byte{0x0a, 1, 'x'}},
		}
		for _, c := range cases {
			_, err := p.from.Request(t.Context(), c.address, c.body)
			var no *bus.ReplyError
			if !errors.As(err, &no) || no.Code != bus.CodeBody {
				t.Errorf("%T to %s: %v", c.body, c.address, err)
			}
			if err := p.from.Send(t.Context(), c.address, c.body); err != nil {
				t.Errorf("%T to %s: %v", c.body, c.address, err)
			}
		}
		within(t, "failures are counted", func() bool { return p.to.Stats().Failed == uint64(len(cases)) })
	})
}

// A reply that the requester's type cannot take is the requester's error, not
// the consumer's no.
func TestReplyThatDoesNotFit(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		consume(t, p.to, "a", bus.Respond(func(context.Context, any) (string, error) { return "x", nil }).Handle)
		n, err := bus.Request[int](t.Context(), p.from, "a", nil)
		var no *bus.ReplyError
		if err == nil || errors.As(err, &no) || n != 0 {
			t.Errorf("%d, %v", n, err)
		}
		if m, err := bus.Request[*wrapperspb.StringValue](t.Context(), p.from, "a", nil); err == nil || m.GetValue() != "" {
			t.Errorf("%v, %v", m, err)
		}
	})
}

// The limit of a body is exact, the same for all verbs, alone and clustered.
func TestBodyLimits(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		got := make(chan int, 1)
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			if m.WantsReply() {
				return m.Reply(ctx, m.Body)
			}
			got <- len(m.Body)
			return nil
		})
		for size, ok := range map[int]bool{0: true, 1 << 10: true, 1<<10 + 1: true, 4 << 10: true, 64 << 10: true, 64<<10 + 1: true, 1 << 20: true, 16 << 20: true, 16<<20 + 1: false} {
			body := make([]byte, size)
			m, err := p.from.Request(t.Context(), "a", body)
			if ok && (err != nil || len(m.Body) != size) || !ok && !errors.Is(err, bus.ErrTooLarge) {
				t.Errorf("request with %d bytes: %v", size, err)
			}
			for verb, call := range map[string]func(context.Context, string, any, ...bus.CallOption) error{"Send": p.from.Send, "Publish": p.from.Publish} {
				err := call(t.Context(), "a", body)
				if !ok {
					if !errors.Is(err, bus.ErrTooLarge) {
						t.Errorf("%s of %d bytes: %v", verb, size, err)
					}
				} else if n := receive(t, got); err != nil || n != size {
					t.Errorf("%s of %d bytes: %d came, %v", verb, size, n, err)
				}
			}
		}
		if err := p.from.Send(t.Context(), "a", strings.Repeat("x", 16<<20-1)); !errors.Is(err, bus.ErrTooLarge) { // and two quotes
			t.Errorf("JSON of 16 MiB and a byte: %v", err)
		}
	})
}

// A body that was sent is the caller's again when the call has returned.
func TestBodyMayBeReused(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		const n = 100
		got := make(chan string, n)
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			got <- string(m.Body)
			if m.WantsReply() {
				body := []byte("reply")
				err := m.Reply(ctx, body)
				copy(body, "XXXXX")
				return err
			}
			return nil
		})
		body := make([]byte, 1)
		for i := range n {
			body[0] = byte(i)
			var err error
			switch i % 3 {
			case 0:
				err = p.from.Send(t.Context(), "a", body)
			case 1:
				err = p.from.Publish(t.Context(), "a", body)
			case 2:
				var m *bus.Message
				if m, err = p.from.Request(t.Context(), "a", body); err == nil && string(m.Body) != "reply" {
					t.Errorf("reply %q", m.Body)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			if s := receive(t, got); s != string([]byte{byte(i)}) {
				t.Fatalf("message %d is %x", i, s)
			}
		}
	})
}

// A message says how its body is encoded, and so does a reply.
func TestMessageCodec(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			if m.Codec() == "JSON" {
				return m.Reply(ctx, wrapperspb.String(m.Codec()))
			}
			return m.Reply(ctx, []byte(m.Codec()))
		})
		for want, body := range map[string]any{"bytes": []byte("x"), "JSON": "x", "protobuf": wrapperspb.String("x")} {
			m, err := p.from.Request(t.Context(), "a", body)
			if err != nil {
				t.Fatal(err)
			}
			if replied := map[bool]string{true: "protobuf", false: "bytes"}[want == "JSON"]; m.Codec() != replied || !strings.Contains(string(m.Body), want) {
				t.Errorf("a body of %s: %q was answered by %q", want, m.Body, m.Codec())
			}
		}
		if made := new(bus.Message); made.Codec() != "" {
			t.Errorf("a message of no bus: %q", made.Codec())
		}
	})
}
