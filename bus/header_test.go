package bus_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/runrig-go/runrig/bus"
)

func TestHeader(t *testing.T) {
	t.Parallel()
	var none bus.Header
	if none.Get("k") != "" || none.Values("k") != nil || none.Clone() != nil {
		t.Error("a nil header has something in it")
	}
	none.Del("k")

	h := bus.Header{}
	h.Set("Key", "old")
	h.Set("kEY", "a")
	h.Add("KEY", "b")
	h.Add("Другой", "в")
	if h.Get("key") != "a" || !slices.Equal(h.Values("Key"), []string{"a", "b"}) || h.Get("дРУГОЙ") != "в" || len(h) != 2 {
		t.Errorf("got %v", h)
	}
	c := h.Clone()
	c.Add("key", "c")
	c.Values("key")[0] = "x"
	c.Del("ДРУГОЙ")
	if !slices.Equal(h.Values("key"), []string{"a", "b"}) || len(h) != 2 || len(c) != 1 {
		t.Errorf("after changes to a clone: %v, clone %v", h, c)
	}
	h.Set("key", "z")
	if !slices.Equal(h.Values("key"), []string{"z"}) {
		t.Errorf("after Set: %v", h)
	}
}

// A key that is in lower case stays as it is: both sides of a link charge the
// same for it.
func TestHeaderKeysFoldOnce(t *testing.T) {
	t.Parallel()
	for r := range rune(unicode.MaxRune + 1) {
		h := bus.Header{}
		h.Set(string(r), "v")
		for k := range maps.Keys(h) {
			if strings.ToLower(k) != k {
				t.Errorf("%q becomes %q, that %q", string(r), k, strings.ToLower(k))
			}
		}
	}
}

// The limits of headers are exact, the same for all verbs, alone and clustered.
func TestHeaderLimits(t *testing.T) {
	several := func(n int, key, value string) (opts []bus.CallOption) {
		for range n {
			opts = append(opts, bus.WithHeader(key, value))
		}
		return opts
	}
	both(t, func(t *testing.T, p pair) {
		got := make(chan int, 1)
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			n := 0
			for _, vs := range m.Header() {
				n += len(vs)
			}
			if !m.WantsReply() {
				got <- n
				return nil
			}
			return m.Reply(ctx, n)
		})
		for _, c := range []struct {
			name string
			opts []bus.CallOption
			want int // headers; 0: too large
		}{
			{"one of 16 KiB", several(1, "k", strings.Repeat("v", 16<<10-1)), 1},
			{"one byte more", several(1, "k", strings.Repeat("v", 16<<10)), 0},
			{"1,024", several(1024, "k", ""), 1024},
			{"1,025", several(1025, "k", ""), 0},
			{"1,024 of 16 bytes", several(1024, "12345678", "12345678"), 1024},
			{"1,024 of 17 bytes", several(1024, "12345678", "123456789"), 0},
			{"empty", several(2, "k", ""), 2},
			{"any text", several(2, "\x00∂", "\n\x00ü"), 2},
		} {
			n, err := bus.Request[int](t.Context(), p.from, "a", nil, c.opts...)
			check := func(verb string, n int, err error) {
				if n != c.want || (c.want == 0) != errors.Is(err, bus.ErrTooLarge) || c.want > 0 && err != nil {
					t.Errorf("%s of %s: %d headers, %v", verb, c.name, n, err)
				}
			}
			check("Request", n, err)
			for verb, call := range map[string]func(context.Context, string, any, ...bus.CallOption) error{"Send": p.from.Send, "Publish": p.from.Publish} {
				err, n := call(t.Context(), "a", nil, c.opts...), 0
				if err == nil {
					n = receive(t, got)
				}
				check(verb, n, err)
			}
		}
	})
}

// Headers are text: what is not is refused where it is sent.
func TestHeadersAreText(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		for name, opt := range map[string]bus.CallOption{"value": bus.WithHeader("k", "v\xff"), "half a rune": bus.WithHeader("k", "\xe2\x82")} {
			consume(t, p.to, name, func(ctx context.Context, m *bus.Message) error {
				if len(m.Header()) > 0 {
					t.Error("handled")
				}
				if err := m.Reply(ctx, nil, opt); err == nil || !strings.Contains(err.Error(), "UTF-8") {
					t.Errorf("%s: Reply: %v", name, err)
				}
				return nil
			})
			if _, err := p.from.Request(t.Context(), name, nil); err != nil {
				t.Error(err)
			}
			_, asked := p.from.Request(t.Context(), name, nil, opt)
			for verb, err := range map[string]error{
				"Request": asked, "Send": p.from.Send(t.Context(), name, nil, opt), "Publish": p.from.Publish(t.Context(), name, nil, opt),
				"Gossip": p.from.Publish(t.Context(), name, nil, opt, bus.Gossip()),
			} {
				if err == nil || errors.Is(err, bus.ErrTooLarge) || !strings.Contains(err.Error(), "UTF-8") || !strings.Contains(err.Error(), `"k"`) {
					t.Errorf("%s: %s: %v", name, verb, err)
				}
			}
		}
	})
}

// A reply has the same limits; the handler learns of it and may reply otherwise.
func TestReplyLimits(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		bad := map[string]func(ctx context.Context, m *bus.Message) error{
			"body":    func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, make([]byte, 16<<20+1)) },
			"as JSON": func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, strings.Repeat("x", 16<<20-1)) },
			"header": func(ctx context.Context, m *bus.Message) error {
				return m.Reply(ctx, nil, bus.WithHeader("k", strings.Repeat("v", 16<<10)))
			},
			"encoding": func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, make(chan int)) },
			"option":   func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, nil, bus.LocalOnly()) },
		}
		errs := make(chan error, 1)
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			errs <- bad[m.Header().Get("how")](ctx, m)
			if !m.WantsReply() {
				t.Errorf("%s: a reply that failed counts as one", m.Header().Get("how"))
			}
			if err := m.Reply(ctx, "otherwise"); err != nil {
				return err
			}
			if err := m.Reply(ctx, "again"); err == nil || m.WantsReply() {
				t.Errorf("a second reply: %v", err)
			}
			return nil
		})
		for how := range bad {
			s, err := bus.Request[string](t.Context(), p.from, "a", nil, bus.WithHeader("how", how))
			if err != nil || s != "otherwise" {
				t.Errorf("%s: %q, %v", how, s, err)
			}
			err = receive(t, errs)
			if large := how == "body" || how == "as JSON" || how == "header"; err == nil || large != errors.Is(err, bus.ErrTooLarge) {
				t.Errorf("%s: the handler got %v", how, err)
			}
		}
	})
}

// An error's text is cut where it would be long; its code arrives whatever it is.
func TestErrorLimits(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		answers := map[string]error{
			"long":     errors.New(strings.Repeat("x", 20_000)),
			"own long": &bus.ReplyError{Code: 1 << 30, Message: strings.Repeat("y", 20_000)},
			"lowest":   &bus.ReplyError{Code: math.MinInt},
			"highest":  fmt.Errorf("wrapped: %w", &bus.ReplyError{Code: math.MaxInt, Message: "no"}),
		}
		consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error { return answers[string(m.Body)] })
		for body, want := range map[string]bus.ReplyError{
			"long":     {Code: bus.CodeFailed, Message: strings.Repeat("x", 16<<10-17) + "… (20000 bytes)"},
			"own long": {Code: 1 << 30, Message: strings.Repeat("y", 16<<10-17) + "… (20000 bytes)"},
			"lowest":   {Code: math.MinInt},
			"highest":  {Code: math.MaxInt, Message: "wrapped: no"},
		} {
			_, err := p.from.Request(t.Context(), "a", []byte(body))
			var got *bus.ReplyError
			if !errors.As(err, &got) || got.Code != want.Code || got.Message != want.Message {
				t.Errorf("%s: %.80v", body, err)
			}
		}
	})
}

// Several values of several keys keep their order, for each key, by every verb, in
// replies and in questions, small and large, and when they are sent back.
func TestHeaderValuesKeepTheirOrder(t *testing.T) {
	const keys, values = 4, 10
	var with []bus.CallOption
	want := bus.Header{}
	for v := range values {
		for k := range keys {
			key, value := fmt.Sprint("Key-", k), fmt.Sprint(9-v, k)
			with = append(with, bus.WithHeader(key, value))
			want.Add(key, value)
		}
	}
	same := func(t *testing.T, what string, h bus.Header) {
		t.Helper()
		if !maps.EqualFunc(h, want, slices.Equal[[]string]) {
			t.Errorf("%s: %v", what, h)
		}
	}
	everywhere(t, func(t *testing.T, p pair) {
		got := make(chan bus.Header, 1)
		h := func(ctx context.Context, m *bus.Message) error {
			if !m.WantsReply() {
				got <- m.Header()
				return nil
			}
			same(t, "request", m.Header())
			a, err := m.Request(ctx, m.Body, with...)
			if err != nil {
				return err
			}
			same(t, "answer", a.Header())
			return a.Reply(ctx, a.Body, with...)
		}
		block := make(chan struct{})
		first := consume(t, p.to, "a", func(context.Context, *bus.Message) error { <-block; return nil })
		for range 2 { // the second is sent back
			if err := p.from.Send(t.Context(), "a", nil, with...); err != nil {
				t.Fatal(err)
			}
		}
		consume(t, p.to, "a", h)
		first.Close()
		close(block)
		same(t, "sent back", receive(t, got))
		for _, size := range []int{0, 100 << 10} {
			body := make([]byte, size)
			for verb, call := range map[string]func(context.Context, string, any, ...bus.CallOption) error{"send": p.from.Send, "publish": p.from.Publish} {
				if err := call(t.Context(), "a", body, with...); err != nil {
					t.Fatal(err)
				}
				same(t, verb, receive(t, got))
			}
			q, err := p.from.Request(t.Context(), "a", body, with...)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "question", q.Header())
			last, err := q.Request(t.Context(), body, with...)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "reply", last.Header())
		}
		if err := p.from.Publish(t.Context(), "a", nil, append(slices.Clone(with), bus.Gossip())...); err != nil {
			t.Fatal(err)
		}
		same(t, "gossip", receive(t, got))
	})
}
