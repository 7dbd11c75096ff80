package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/wire"
	"github.com/runrig-go/runrig/discovery"
)

// newSet is a set of peers whose goroutines do not run: each is added by hand.
func newSet(t *testing.T) *peers {
	set := &peers{counts: new(counters), own: wire.Greeting{Cluster: "c", Name: "n", Boot: 1, MinVersion: 1, MaxVersion: 1}, log: slog.New(slog.DiscardHandler), news: noNews{}}
	set.start()
	t.Cleanup(set.close)
	return set
}

// noNews is nobody.
type noNews struct{}

func (noNews) eager() bool               { return false }
func (noNews) linked(bus.Peer)           {}
func (noNews) unlinked(bus.Peer, error)  {}
func (noNews) unreached(bus.Peer, error) {}
func (noNews) outlived(bus.Peer)         {}

func (s *peers) add(name string, boot uint64, addr string) *peer {
	p := newPeer(s, bus.Peer{Name: name, Boot: boot, Addr: addr})
	s.byBoot[boot] = p
	return p
}

func greetingOf(p *peer) *wire.Greeting {
	return &wire.Greeting{Cluster: "c", Name: p.who.Name, Boot: p.who.Boot, Addr: p.who.Addr, MinVersion: 1, MaxVersion: 1, Attempt: 1, Verdict: wire.OK}
}

// hello lets a HELLO of p come in.
func (p *peer) calls(t *testing.T) {
	a, b := net.Pipe()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	hello := greetingOf(p)
	hello.Verdict = wire.None
	p.set.greet(caller{a, hello})
}

// A host loses power with its WELCOME on the way and comes back: the WELCOME that
// is read after the newer boot's HELLO does not take that one for dead. Neither
// does it where the HELLO was the older of the two, until the next dial.
func TestWelcomeThatWasOvertaken(t *testing.T) {
	t.Parallel()
	set := newSet(t)
	old, newer := set.add("b", 2, "10.0.0.2:7946"), set.add("b", 3, "10.0.0.2:7946")
	elsewhere := set.add("c", 4, "10.0.0.3:7946")
	settle := func(began uint64) error {
		a, b := net.Pipe()
		t.Cleanup(func() { _ = b.Close() })
		old.dialling, old.cancel = true, func() {}
		w := greetingOf(old)
		if _, proof := old.answered(dialResult{began: began, conn: a, welcome: w}); !proof {
			old.settle(dialResult{began: began, conn: a, welcome: w})
			if _, err := a.Write([]byte{0}); err == nil {
				t.Error("the stream of a WELCOME that proves nothing stays open")
			}
			return errors.New("no proof")
		}
		return nil
	}
	began := set.proofCount()
	elsewhere.calls(t)
	newer.calls(t)
	if !old.isReplaced() || newer.isReplaced() || elsewhere.isReplaced() {
		t.Fatal("the HELLO did not replace the old boot only")
	}
	if settle(began) == nil || newer.isReplaced() || !old.isReplaced() || old.link != nil {
		t.Error("the WELCOME that the HELLO overtook is taken for the newer proof")
	}
	if err := settle(set.proofCount()); err != nil || !newer.isReplaced() {
		t.Errorf("the WELCOME to a dial that began after the HELLO proves nothing: %v", err)
	}
}

// What a WELCOME tells is checked like what a HELLO tells.
func TestMalformedWelcome(t *testing.T) {
	t.Parallel()
	good := wire.Greeting{Cluster: "c", Name: "b", Boot: 2, Addr: "10.0.0.2:7946", MinVersion: 1, MaxVersion: 1, Attempt: 1, Verdict: wire.OK}
	for name, tt := range map[string]struct {
		change func(*wire.Greeting)
		ok     bool
	}{
		"good":                {func(*wire.Greeting) {}, true},
		"refused with secret": {func(g *wire.Greeting) { *g = wire.Greeting{Verdict: wire.Secret, MinVersion: 1, MaxVersion: 1} }, true},
		"no boot id":          {func(g *wire.Greeting) { g.Boot = 0 }, false},
		"no name":             {func(g *wire.Greeting) { g.Name = "" }, false},
		"name with a newline": {func(g *wire.Greeting) { g.Name = "b\nlevel=INFO" }, false},
		"long name":           {func(g *wire.Greeting) { g.Name = strings.Repeat("b", 112) }, false},
		"no address":          {func(g *wire.Greeting) { g.Addr = "" }, false},
		"a name as address":   {func(g *wire.Greeting) { g.Addr = "b:7946" }, false},
		"port 0":              {func(g *wire.Greeting) { g.Addr = "10.0.0.2:0" }, false},
		"unspecified":         {func(g *wire.Greeting) { g.Addr = "0.0.0.0:7946" }, false},
		"refused, no boot id": {func(g *wire.Greeting) { g.Boot, g.Verdict = 0, wire.Stale }, false},
	} {
		g := good
		tt.change(&g)
		a, b := net.Pipe()
		done := make(chan struct{})
		go func() { // ends with the pipe; awaited below
			defer close(done)
			if _, err := wire.Read(b); err == nil {
				_ = wire.Write(b, &g)
			}
		}()
		welcome, err := exchange(a, &wire.Greeting{Cluster: "c", Name: "a", Boot: 1})
		_, _ = a.Close(), b.Close()
		<-done
		if (err == nil) != tt.ok || (welcome != nil) != tt.ok {
			t.Errorf("%s: got %v, %v", name, welcome, err)
		}
		if !tt.ok && !errors.Is(err, wire.ErrFormat) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

// Boots beyond the limit are closed and counted, those known are not.
func TestSurplusOfBoots(t *testing.T) {
	t.Parallel()
	set := newSet(t)
	counted := 0
	set.surplus = func(caller) { counted++ }
	for i := range uint64(maxUnknown) {
		set.add("b", 100+i, fmt.Sprintf("10.%d.%d.1:7946", i/200, i%200))
	}
	known := set.byBoot[100]
	known.calls(t)
	if counted != 0 || len(known.inbox) != 1 {
		t.Error("a boot that is known was turned away")
	}
	newPeer(set, bus.Peer{Name: "late", Boot: 9, Addr: "10.9.9.9:7946"}).calls(t)
	if counted != 1 || len(set.byBoot) != maxUnknown {
		t.Errorf("%d counted, %d boots known; want 1 and %d", counted, len(set.byBoot), maxUnknown)
	}
}

// stuck is a stream that does not close until it may, as that of TLS may where
// nobody reads.
type stuck struct {
	net.Conn
	closing, free chan struct{}
}

func (s stuck) Close() error {
	close(s.closing)
	<-s.free
	return s.Conn.Close()
}

// A stream that is slow to close holds up nobody else.
func TestClosingAStreamHoldsUpNobody(t *testing.T) {
	t.Parallel()
	set := newSet(t)
	p := set.add("b", 2, "10.0.0.2:7946")
	for range cap(p.inbox) {
		p.calls(t)
	}
	a, b := net.Pipe()
	defer b.Close()
	slow := stuck{a, make(chan struct{}), make(chan struct{})}
	done := make(chan struct{})
	go func() { // ends when slow is free; awaited below
		defer close(done)
		set.greet(caller{slow, greetingOf(p)})
	}()
	<-slow.closing
	if set.hushed() { // takes mu
		t.Error("hushed")
	}
	close(slow.free)
	<-done
}

func TestHostWithoutAName(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, errors.New("no such file")} {
		s := &settings{hostname: func() (string, error) { return "", err }}
		got := Config{}.settleName(s, discovery.Self{})
		if got == nil || strings.Contains(got.Error(), "%!") || !strings.Contains(got.Error(), "Config.Name") || err != nil && !errors.Is(got, err) {
			t.Errorf("the error is %v", got)
		}
	}
}
