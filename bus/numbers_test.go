package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// TestConcurrencyOfAnySize: a consumer handles as many messages at once as there
// are, however many more it may.
func TestConcurrencyOfAnySize(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{math.MaxInt32, math.MaxInt32 + 1, 1 << 32, 1<<32 + 1, math.MaxInt64} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			n := int(size)
			if int64(n) != size {
				t.Skip("no int has this size here")
			}
			synctest.Test(t, func(t *testing.T) {
				eb := bus.New(quiet)
				defer eb.Close()
				began := make(chan bool, 9)
				consume(t, eb, "a", func(ctx context.Context, _ *bus.Message) error {
					began <- true
					time.Sleep(time.Second)
					return nil
				}, bus.WithConcurrency(n))
				for range 8 {
					if err := eb.Send(t.Context(), "a", nil); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				if len(began) != 8 {
					t.Errorf("%d of 8 have begun", len(began))
				}
				begin := time.Now()
				if _, err := eb.Request(t.Context(), "a", nil); err != nil || time.Since(begin) != time.Second {
					t.Errorf("after %v: %v", time.Since(begin), err)
				}
			})
		})
	}
}

// TestHeadersAreCharged: a window takes fewer messages with headers, about as their
// memory is more; the ends of a link agree on it.
func TestHeadersAreCharged(t *testing.T) {
	for _, c := range []struct {
		headers  int
		key      string
		atLeast  int // that a window of 16 KiB takes
		atMost   int
		refusing string
	}{
		{0, "", 128, 128, ""},
		{1, "a", 16<<10/642 + 1, 16<<10/642 + 1, ""},
		{8, "a%d", 16<<10/(128+384+8*131) + 1, 16<<10/(128+384+8*131) + 1, ""},
		{1024, "a", 1, 1, ""},
		{1, "", 0, 0, "without a key"},
		{1025, "a", 0, 0, "1025 headers"},
	} {
		t.Run(fmt.Sprint(c.headers, " ", c.key), func(t *testing.T) {
			both(t, func(t *testing.T, p pair) {
				cn := consume(t, p.to, "a", nothing, bus.WithWindow(16<<10))
				cn.Pause()
				var opts []bus.CallOption
				for i := range c.headers {
					key := c.key
					if strings.Contains(key, "%") {
						key = fmt.Sprintf(key, i)
					}
					opts = append(opts, bus.WithHeader(key, "b"))
				}
				n := 0
				for {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					err := p.from.Send(ctx, "a", nil, opts...)
					cancel()
					if c.refusing != "" {
						if err == nil || !strings.Contains(err.Error(), c.refusing) {
							t.Errorf("error %v", err)
						}
						return
					}
					if errors.Is(err, bus.ErrBusy) {
						break
					}
					if n++; err != nil || n > 1000 {
						t.Fatalf("message %d: %v", n, err)
					}
				}
				if n < c.atLeast || n > c.atMost {
					t.Errorf("%d messages wait, want %d", n, c.atLeast)
				}
				cn.Resume()
				atRest(t, p.from)
			})
		})
	}
}

// TestBodiesHaveNoRoomBehind: consumers share the memory of a body, so appending
// to it must copy.
func TestBodiesHaveNoRoomBehind(t *testing.T) {
	type text struct{ S string }
	codec := bus.WithCodec("own",
		func(t text) ([]byte, error) { return append(make([]byte, 0, 1<<20), t.S...), nil },
		func(b []byte) (text, error) { return text{string(b)}, nil })
	for name, body := range map[string]func(n int) any{
		"bytes": func(n int) any { return append(make([]byte, 0, 2*n), make([]byte, n)...) },
		"JSON":  func(n int) any { return strings.Repeat("x", n) },
		"codec": func(n int) any { return text{strings.Repeat("x", n)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := bustest.NewCluster(t, 2, quiet, codec)
			came := make(chan *bus.Message, 8)
			for i := range 2 {
				for range 2 {
					consume(t, c.Bus(i), "a", func(ctx context.Context, m *bus.Message) error {
						came <- m
						if m.WantsReply() {
							return m.Reply(ctx, body(len(m.Body)))
						}
						return nil
					})
				}
			}
			for _, n := range []int{1, 100, 1000, 3000, 5000, 40000, 300000} {
				for verb, send := range map[string]func() (int, []*bus.Message, error){
					"Send": func() (int, []*bus.Message, error) { return 1, nil, c.Bus(0).Send(t.Context(), "a", body(n)) },
					"Publish": func() (int, []*bus.Message, error) {
						return 4, nil, c.Bus(0).Publish(t.Context(), "a", body(n))
					},
					"RequestAll": func() (int, []*bus.Message, error) {
						all, err := c.Bus(0).RequestAll(t.Context(), "a", body(n))
						return 4, all, err
					},
				} {
					want, all, err := send()
					if err != nil {
						t.Fatal(err)
					}
					for range want {
						all = append(all, receive(t, came))
					}
					for _, m := range all {
						if len(m.Body) < n || cap(m.Body) != len(m.Body) {
							t.Errorf("%s of %d bytes: body of %d with room for %d", verb, n, len(m.Body), cap(m.Body))
						}
					}
				}
			}
		})
	}
}

// TestConsumeReturnsNothingWithAnError: also in a Do.
func TestConsumeReturnsNothingWithAnError(t *testing.T) {
	t.Parallel()
	eb := bus.New(quiet)
	scope := eb.Scope()
	err := scope.Do(t.Context(), func(context.Context) error {
		eb.Close()
		c, err := scope.Consume("a", bus.HandlerFunc(nothing))
		if c != nil || !errors.Is(err, bus.ErrClosed) {
			t.Errorf("in a Do: %v, %v", c, err)
		}
		return nil
	})
	if err != nil && !errors.Is(err, bus.ErrClosed) {
		t.Error(err)
	}
	if c, err := eb.Consume("a", bus.HandlerFunc(nothing)); c != nil || !errors.Is(err, bus.ErrClosed) {
		t.Errorf("%v, %v", c, err)
	}
}

// TestOwnMessage: a message that a test of a handler makes.
func TestOwnMessage(t *testing.T) {
	t.Parallel()
	m := &bus.Message{Body: []byte("x")}
	if m.Address() != "" || m.From() != "" || m.Via() != bus.ViaLocal || m.Header() != nil || m.WantsReply() || m.Rerouted() {
		t.Errorf("address %q, from %q, via %v, header %v", m.Address(), m.From(), m.Via(), m.Header())
	}
	var b []byte
	if err := m.Decode(&b); err != nil || string(b) != "x" {
		t.Errorf("decoded %q, %v", b, err)
	}
	if err := m.Reply(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "not a request") {
		t.Errorf("Reply: %v", err)
	}
	if _, err := m.Request(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "not a request") {
		t.Errorf("Request: %v", err)
	}
}
