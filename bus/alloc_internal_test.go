package bus

import (
	"context"
	"log/slog"
	"testing"
	"unsafe"
)

// allocs checks that a run of f makes no more allocations, its handlers' included.
func allocs(t *testing.T, most float64, f func()) {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector allocates too")
	}
	if got := testing.AllocsPerRun(1000, f); got > most {
		t.Errorf("%v allocations; the limit is %v", got, most)
	}
}

// newQuiet returns a bus that does not log, closed at the end of the test.
func newQuiet(tb testing.TB) *EventBus {
	eb := New(WithLogger(slog.New(slog.DiscardHandler)))
	tb.Cleanup(func() { eb.Close() })
	return eb
}

func mustConsume(tb testing.TB, eb *EventBus, address string, h HandlerFunc, opts ...ConsumeOption) *Consumer {
	tb.Helper()
	c, err := eb.Consume(address, h, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// A message within the node is its Message and its body; a consumer that has
// become idle gives its mailbox back, which is one more.
func TestLocalSendAllocs(t *testing.T) {
	eb := newQuiet(t)
	handled := make(chan struct{})
	mustConsume(t, eb, "a", func(context.Context, *Message) error { handled <- struct{}{}; return nil })
	ctx, body := context.Background(), make([]byte, 128)
	var boxed any = body
	allocs(t, 2, func() {
		if err := eb.Send(ctx, "a", boxed); err != nil {
			t.Error(err)
		}
		<-handled
	})
}

// A request within the node is that, and the reply's Message and body. A consumer that
// handles several messages at once costs no more, as long as none comes by key.
func TestLocalRequestAllocs(t *testing.T) {
	for _, places := range []int{1, 4} {
		eb := newQuiet(t)
		var boxed any = make([]byte, 128)
		mustConsume(t, eb, "a", func(ctx context.Context, m *Message) error { return m.Reply(ctx, boxed) }, WithConcurrency(places))
		ctx := context.Background()
		allocs(t, 3, func() {
			if _, err := eb.Request(ctx, "a", boxed); err != nil {
				t.Error(err)
			}
		})
	}
}

// A reply with a header has four allocations more: the map, its list of values, the option
// and the set of all options. The list of options stays on the handler's stack.
func TestReplyHeaderAllocs(t *testing.T) {
	eb := newQuiet(t)
	var boxed any = make([]byte, 128)
	mustConsume(t, eb, "a", func(ctx context.Context, m *Message) error {
		return m.Reply(ctx, boxed, WithHeader("key", "value"))
	})
	ctx := context.Background()
	allocs(t, 7, func() {
		if _, err := eb.Request(ctx, "a", boxed); err != nil {
			t.Error(err)
		}
	})
}

// A publish within the node is one copy of the body for all, and a Message for
// each consumer and its mailbox.
func TestPublishAllocs(t *testing.T) {
	eb := newQuiet(t)
	handled := make(chan struct{})
	for range 2 {
		mustConsume(t, eb, "a", func(context.Context, *Message) error { handled <- struct{}{}; return nil })
	}
	ctx := context.Background()
	var boxed any = make([]byte, 128)
	allocs(t, 5, func() {
		if err := eb.Publish(ctx, "a", boxed); err != nil {
			t.Error(err)
		}
		<-handled
		<-handled
	})
}

// To other nodes a publish costs its sender nothing.
func TestLinkPublishAllocs(t *testing.T) {
	from, to := loopback(t)
	handled := make(chan struct{})
	known(t, mustConsume(t, to, "a", func(context.Context, *Message) error { handled <- struct{}{}; return nil }))
	ctx := context.Background()
	var boxed any = make([]byte, 128)
	allocs(t, 3, func() { // the receiver's: Message, body, mailbox
		if err := from.Publish(ctx, "a", boxed); err != nil {
			t.Error(err)
		}
		<-handled
	})
}

// A handler's context costs nothing unless its Done channel is asked for.
func TestContextAllocs(t *testing.T) {
	eb := newQuiet(t)
	handled := make(chan float64)
	mustConsume(t, eb, "a", func(ctx context.Context, _ *Message) error {
		handled <- testing.AllocsPerRun(100, func() {
			_, ok := ctx.Deadline()
			if ctx.Err() != nil || ctx.Value("key") != nil || !ok || turnOf(ctx) == (turn{}) {
				t.Error("a context that is not the handler's")
			}
		})
		return nil
	})
	if err := eb.Send(context.Background(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if got := <-handled; got != 0 && !raceEnabled {
		t.Errorf("%v allocations", got)
	}
}

func TestDirectoryAllocs(t *testing.T) {
	eb := newQuiet(t)
	mustConsume(t, eb, "a", func(context.Context, *Message) error { return nil })
	allocs(t, 0, func() {
		if eb.core.rings.dir.get("a") == nil || eb.core.rings.dir.get("b") != nil {
			t.Error("the directory is wrong")
		}
	})
}

// Looking at headers that are not there allocates nothing.
func TestHeaderAllocs(t *testing.T) {
	var none Header
	h := Header{"k": {"v"}}
	allocs(t, 0, func() {
		if none.Get("k") != "" || h.Get("k") != "v" || none.Values("K") != nil {
			t.Error("the header is wrong")
		}
	})
}

// Messages are what there is most of: 31 of them fit 2 KiB with the collector's word.
func TestMessageSize(t *testing.T) {
	if n := unsafe.Sizeof(Message{}); n > 64 || runMax*n > 2048-8 {
		t.Errorf("a Message has %d bytes", n)
	}
}

// Each address that has a consumer has a ring, which fits the allocator's 112 bytes.
func TestRingSize(t *testing.T) {
	if n := unsafe.Sizeof(ring{}); n > 112 {
		t.Errorf("a ring has %d bytes", n)
	}
}
