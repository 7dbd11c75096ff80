package bus_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// lane is a bus whose gossip lane a test plays, with a consumer of "news".
type lane struct {
	*bus.EventBus
	attachment *bus.Attachment
	got        chan *bus.Message
}

func newLane(t *testing.T) *lane {
	t.Helper()
	l := &lane{EventBus: bus.New(quiet), got: make(chan *bus.Message, 10_000)}
	t.Cleanup(func() { l.Close() })
	var err error
	if l.attachment, err = l.Attach(bus.Peer{Name: "n0", Boot: 1}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Consume("news", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error { l.got <- m; return nil }), bus.WithWindow(64<<20)); err != nil {
		t.Fatal(err)
	}
	return l
}

// hear hands the bus a notice of a boot.
func (l *lane) hear(t *testing.T, boot, seq uint64) {
	t.Helper()
	l.hearAt(t, boot, seq, time.Now())
}

func (l *lane) hearAt(t *testing.T, boot, seq uint64, sent time.Time) {
	t.Helper()
	b, err := proto.Marshal(&wire.Gossip{Boot: boot, Seq: seq, Sent: uint64(sent.UnixMilli()), Address: "news"})
	if err != nil {
		t.Fatal(err)
	}
	l.attachment.ReceiveGossip(b)
}

// gossipStats is the type of bus.Stats.Gossip.
type gossipStats = struct{ Sent, Received, Duplicates, Old, Missed, Malformed uint64 }

// Each notice is delivered once, in whatever order and however often it comes.
func TestGossipNumbers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		seqs []uint64
		want gossipStats
	}{
		"in order":             {[]uint64{1, 2, 3}, gossipStats{Received: 3}},
		"first heard late":     {[]uint64{1000, 1001}, gossipStats{Received: 2}},
		"before the first":     {[]uint64{5, 4}, gossipStats{Received: 2}},
		"twice":                {[]uint64{1, 1, 2, 1, 2}, gossipStats{Received: 2, Duplicates: 3}},
		"a gap":                {[]uint64{1, 5}, gossipStats{Received: 2, Missed: 3}},
		"a gap that is filled": {[]uint64{1, 4, 2, 3, 2}, gossipStats{Received: 4, Duplicates: 1}},
		"at the window's edge": {[]uint64{1, 2, 513, 2, 1}, gossipStats{Received: 3, Missed: 510, Duplicates: 2}},
		"within the window":    {[]uint64{1, 513, 2}, gossipStats{Received: 3, Missed: 510}},
		"beyond the window":    {[]uint64{1, 514, 2}, gossipStats{Received: 2, Missed: 512, Duplicates: 1}},
		"a jump":               {[]uint64{1, 100_000, 99_999, 99_999, 99_489}, gossipStats{Received: 4, Missed: 99_996, Duplicates: 1}},
		"a number of nothing":  {[]uint64{0}, gossipStats{Malformed: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLane(t)
			for _, seq := range c.seqs {
				l.hear(t, 2, seq)
			}
			if got := l.Stats().Gossip; got != c.want {
				t.Errorf("%+v, not %+v", got, c.want)
			}
			for range c.want.Received {
				receive(t, l.got)
			}
			if len(l.got) > 0 {
				t.Error("a notice was delivered twice")
			}
		})
	}
}

// The bus's own notices come back over the lane and are not delivered again;
// nor is what was published long before this node was part of the cluster, by clocks
// that may differ by an hour.
func TestGossipOwnAndOld(t *testing.T) {
	t.Parallel()
	l := newLane(t)
	l.hear(t, 1, 1)
	l.hearAt(t, 2, 1, time.Now().Add(-61*time.Minute))
	l.hearAt(t, 2, 2, time.Now().Add(-59*time.Minute))
	l.hearAt(t, 3, 1, time.Now().Add(24*time.Hour))
	if got, want := l.Stats().Gossip, (gossipStats{Received: 2, Old: 1}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
	receive(t, l.got)
	receive(t, l.got)
}

// Of more boots than it keeps the bus forgets those that were silent longest.
func TestGossipOfManyBoots(t *testing.T) {
	t.Parallel()
	l := newLane(t)
	const n = 4096
	for boot := range uint64(n) {
		l.hear(t, 2+boot, 1)
	}
	l.hear(t, 2, 2)   // the first is heard of again
	l.hear(t, 2+n, 1) // one more
	l.hear(t, 2, 2)   // still known
	if got, want := l.Stats().Gossip, (gossipStats{Received: n + 2, Duplicates: 1}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
}

// A consumer that does not keep up misses notices once a window of them waits;
// the lane waits for nothing.
func TestGossipWindow(t *testing.T) {
	t.Parallel()
	l := newLane(t)
	block := make(chan struct{})
	defer close(block)
	if _, err := l.Consume("slow", bus.HandlerFunc(func(context.Context, *bus.Message) error { <-block; return nil }), bus.WithWindow(1<<10)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := l.Publish(t.Context(), "slow", nil, bus.Gossip()); err != nil {
			t.Fatal(err)
		}
	}
	if s := l.Stats(); s.Dropped != 12 || s.Gossip.Sent != 20 { // 8 of 128 bytes fit
		t.Errorf("%d of %d dropped", s.Dropped, s.Gossip.Sent)
	}
}

// Garbage is counted and nothing else.
func TestGossipGarbage(t *testing.T) {
	t.Parallel()
	l := newLane(t)
	long := &wire.Gossip{Boot: 2, Seq: 1, Sent: math.MaxInt64, Address: string(make([]byte, 256))}
	b, err := proto.Marshal(long)
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range [][]byte{nil, []byte("garbage"), {0x09, 1, 2, 3}, b} {
		l.attachment.ReceiveGossip(payload)
	}
	if got, want := l.Stats().Gossip, (gossipStats{Malformed: 4}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
}

func TestGossip(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		got := make(chan *bus.Message, 10)
		h := bus.HandlerFunc(func(_ context.Context, m *bus.Message) error { got <- m; return nil })
		consume(t, p.to, "news", h)
		if err := p.from.Publish(t.Context(), "news", "hi", bus.Gossip(), bus.WithHeader("k", "v")); err != nil {
			t.Fatal(err)
		}
		m := receive(t, got)
		var s string
		if err := m.Decode(&s); err != nil || s != "hi" || m.Via() != bus.ViaGossip || m.Header().Get("K") != "v" {
			t.Errorf("%q via %v, %v", s, m.Via(), err)
		}
		if p.linked && m.From() != "n0" {
			t.Errorf("from %q", m.From())
		}
		if err := p.from.Publish(t.Context(), "news", make([]byte, 1025), bus.Gossip()); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
	})
}
