package bus

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus/internal/frame"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// The announcer's ROUTES are those that protobuf would write: the whole set,
// then changes, in frames that stay within their bound.
func TestRoutesEqualProtobuf(t *testing.T) {
	t.Parallel()
	l, cs := routesLink(t)
	var added []*wire.Routes_Added
	for _, c := range cs {
		l.announcer.announce(c)
		a := &wire.Routes_Added{Number: c.num, Address: c.address, Published: c.made&madePublished != 0}
		if c.window < windowFloor { // which need not be said
			a.Window = uint64(c.window)
		}
		added = append(added, a)
	}
	checkRoutes(t, l, &wire.Routes{Seq: 1, Added: added, Last: true})

	l.first = nil
	var removed []uint32
	for _, c := range cs[1:] {
		l.inbounds.byNumber[c.num].stage = inRemoving
		l.announcer.dirty = append(l.announcer.dirty, l.inbounds.byNumber[c.num])
		removed = append(removed, c.num)
	}
	more := &Consumer{node: cs[0].node, num: 1 << 20, address: "more", window: 1 << 26}
	l.announcer.announce(more)
	checkRoutes(t, l, &wire.Routes{
		Seq: 2, Removed: removed,
		Added: []*wire.Routes_Added{{Number: 1 << 20, Address: "more"}},
	})
}

// routesLink returns a link that nobody serves, and consumers.
func routesLink(t *testing.T) (*link, []*Consumer) {
	t.Helper()
	c := newCore(config{log: slog.New(slog.DiscardHandler)})
	l := c.newLink(Peer{Name: "peer", Boot: 2}, nil, nil)
	var cs []*Consumer
	for i, address := range []string{"a", "greet", strings.Repeat("x", maxAddress), "κόσμε"} {
		cs = append(cs, &Consumer{node: &c.own, num: uint32(1 + i*100), address: address, window: windowLimit(1) << (10 + 5*i), made: made(i) % 2 * madePublished})
	}
	return l, cs
}

func checkRoutes(t *testing.T, l *link, want *wire.Routes) {
	t.Helper()
	l.mu.Lock()
	l.announcer.fill()
	got := l.first
	l.mu.Unlock()
	if want := marshal(t, &wire.Frame{Kind: &wire.Frame_Routes{Routes: want}}); !bytes.Equal(got, want) {
		t.Errorf("by hand  %x\nprotobuf %x", got, want)
	}
}

// A set that is larger than a frame comes in several, of which one is the last.
func TestRoutesInSeveralFrames(t *testing.T) {
	t.Parallel()
	l, cs := routesLink(t)
	const n = 1000
	for i := range n {
		l.announcer.announce(&Consumer{node: cs[0].node, num: uint32(i + 1), address: fmt.Sprintf("%0255d", i), window: 1 << 10})
	}
	var b []byte
	l.mu.Lock()
	for l.announcer.hasRoutes() { // as the link takes them
		l.announcer.fill()
		b = append(b, l.takeFirst()...)
	}
	l.mu.Unlock()
	frames, routes, lasts := 0, 0, 0
	for len(b) > 0 {
		kind, begin, end, err := frame.Next(b)
		if err != nil || kind != frame.Routes || end > len(b) || end-begin > routesFrame+maxAddress+64 {
			t.Fatalf("frame %d of kind %d from %d to %d of %d: %v", frames, kind, begin, end, len(b), err)
		}
		var r wire.Routes
		if err := proto.Unmarshal(b[begin:end], &r); err != nil {
			t.Fatal(err)
		}
		frames++
		if r.Seq != uint64(frames) {
			t.Errorf("frame %d has number %d", frames, r.Seq)
		}
		for _, a := range r.Added {
			if routes++; a.Number != uint32(routes) {
				t.Fatalf("route %d comes as the %dth", a.Number, routes)
			}
		}
		if r.Last {
			lasts++
		}
		b = b[end:]
	}
	if frames < 8 || routes != n || lasts != 1 {
		t.Errorf("%d frames, %d routes, %d last ones", frames, routes, lasts)
	}
}
