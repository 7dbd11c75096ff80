package cluster

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/wire"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	own := &wire.Greeting{Cluster: "c", Boot: 7, MinVersion: 2, MaxVersion: 3}
	for _, c := range []struct {
		what  string
		hello wire.Greeting
		want  wire.Verdict
	}{
		{"fits", wire.Greeting{Cluster: "c", Boot: 8, MinVersion: 3, MaxVersion: 9, Attempt: 1}, wire.OK},
		{"fits, and is meant for this boot", wire.Greeting{Cluster: "c", Boot: 8, MinVersion: 1, MaxVersion: 2, Attempt: 1, Target: 7}, wire.OK},
		{"other cluster, and all else wrong too", wire.Greeting{Cluster: "d", Boot: 7, MinVersion: 9, MaxVersion: 9}, wire.Cluster},
		{"too new, and itself", wire.Greeting{Cluster: "c", Boot: 7, MinVersion: 4, MaxVersion: 9}, wire.Version},
		{"too old", wire.Greeting{Cluster: "c", Boot: 8, MinVersion: 1, MaxVersion: 1, Attempt: 1}, wire.Version},
		{"no version", wire.Greeting{Cluster: "c", Boot: 8, Attempt: 1}, wire.Version},
		{"itself, as a question", wire.Greeting{Cluster: "c", Boot: 7, MinVersion: 2, MaxVersion: 2}, wire.Self},
		{"a question", wire.Greeting{Cluster: "c", Boot: 8, MinVersion: 2, MaxVersion: 2}, wire.Stale},
		{"meant for the boot before", wire.Greeting{Cluster: "c", Boot: 8, MinVersion: 2, MaxVersion: 2, Attempt: 5, Target: 6}, wire.Stale},
	} {
		if got := judge(own, &c.hello); got != c.want {
			t.Errorf("%s: verdict %d, want %d", c.what, got, c.want)
		}
	}
}

func TestCrossingHello(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what    string
		state   crossing
		attempt uint64
		open    bool
		want    wire.Verdict
	}{
		{"first", crossing{own: 1, peer: 2}, 1, true, wire.OK},
		{"newer", crossing{own: 1, peer: 2, learned: 4}, 5, true, wire.OK},
		{"same count", crossing{own: 1, peer: 2, learned: 5}, 5, true, wire.Stale},
		{"older count", crossing{own: 1, peer: 2, learned: 5, linked: true}, 4, true, wire.Stale},
		{"stale comes before all", crossing{own: 1, peer: 2, learned: 5, dialling: true}, 5, false, wire.Stale},
		{"from a boot that was replaced", crossing{own: 1, peer: 2, replaced: true}, 9, true, wire.Stale},
		{"linked: the peer lost it", crossing{own: 1, peer: 2, learned: 1, linked: true}, 2, true, wire.OK},
		{"linked comes before an own dial", crossing{own: 1, peer: 2, linked: true, dialling: true}, 2, true, wire.OK},
		{"linked comes before leaving", crossing{own: 1, peer: 2, linked: true}, 2, false, wire.OK},
		{"crossing: the smaller boot's dial is ours", crossing{own: 1, peer: 2, dialling: true}, 1, true, wire.Duplicate},
		{"crossing: the smaller boot's dial is theirs", crossing{own: 2, peer: 1, dialling: true}, 1, true, wire.OK},
		{"crossing comes before leaving", crossing{own: 1, peer: 2, dialling: true}, 1, false, wire.Duplicate},
		{"leaving", crossing{own: 1, peer: 2}, 1, false, wire.Leaving},
		{"leaving, crossing", crossing{own: 2, peer: 1, dialling: true}, 1, false, wire.Leaving},
	} {
		before := c.state
		got := c.state.hello(c.attempt, c.open)
		if got != c.want {
			t.Errorf("%s: verdict %d, want %d", c.what, got, c.want)
		}
		switch {
		case got == wire.OK && c.state.learned != c.attempt:
			t.Errorf("%s: accepted, but the count learned is %d", c.what, c.state.learned)
		case got != wire.OK && c.state != before:
			t.Errorf("%s: a refusal changed %+v to %+v", c.what, before, c.state)
		}
	}
}

func TestCrossingWelcome(t *testing.T) {
	t.Parallel()
	c := crossing{own: 1, peer: 2, learned: 3, replaced: true}
	c.welcome(2)
	if c.learned != 3 || c.replaced {
		t.Errorf("after a WELCOME of an older count: %+v", c)
	}
	c.welcome(8)
	if c.learned != 8 {
		t.Errorf("after a WELCOME of count 8: %+v", c)
	}
	if got := c.hello(8, true); got != wire.Stale {
		t.Errorf("HELLO with the count that the WELCOME told: verdict %d, want stale", got)
	}
}

// A dial that was refused teaches nothing: with the count of the refusal the
// peer's own dial, which crossed it, would be stale.
func TestRefusedDial(t *testing.T) {
	t.Parallel()
	set := &peers{counts: new(counters), log: slog.New(slog.DiscardHandler), news: noNews{}}
	set.start()
	defer set.close()
	p := newPeer(set, bus.Peer{Name: "b", Boot: 2})
	p.dialling, p.cancel = true, func() {}
	p.settle(dialResult{
		welcome: &wire.Greeting{Name: "b", Boot: 2, Attempt: 7, Verdict: wire.Duplicate},
		err:     refusal(wire.Duplicate, "b", true, ""),
	})
	if v := p.hello(7, true); v != wire.OK {
		t.Errorf("HELLO with the count that a refusal told: verdict %d, want OK", v)
	}
}

// Of a refusal for want of a secret nothing is believed but that and the versions,
// and a WELCOME of another cluster proves nothing of who lives at an address.
func TestRefusalsOfStrangers(t *testing.T) {
	t.Parallel()
	n := started(t, Config{})
	for what, c := range map[string]struct {
		said wire.Greeting
		want error
	}{
		"secret": {wire.Greeting{Name: "x\nINFO all is well", Cluster: "y\n", Verdict: wire.Secret}, ErrSecret},
		"cluster": {wire.Greeting{Name: "x", Boot: 7, Addr: "10.0.0.1:1", Cluster: "other", Verdict: wire.Cluster,
			MinVersion: minVersion, MaxVersion: maxVersion}, ErrCluster},
		"a name of a cluster that is none": {wire.Greeting{Name: "x", Boot: 7, Addr: "10.0.0.1:1", Cluster: strings.Repeat("y", 65),
			Verdict: wire.Cluster}, wire.ErrFormat},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(conn, make([]byte, 1))
			_, _ = wire.Read(conn)
			_ = wire.Write(conn, &c.said)
			_ = conn.Close()
		}()
		_, welcome, err := ask(t.Context(), n.port, addrPortOf(l.Addr()), n.peers.own)
		_ = l.Close()
		if !errors.Is(err, c.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "INFO") {
			t.Errorf("%s: %v, want %v and nothing of what was said besides", what, err, c.want)
		}
		if welcome != nil && what != "a name of a cluster that is none" {
			t.Errorf("%s: taken for a node of this cluster: %+v", what, welcome)
		}
	}
}

// What an error tells of another's text is one line, and not long.
func TestPrintable(t *testing.T) {
	t.Parallel()
	if got := printable("a\nb\x1b[2J\u202ec"); got != "a?b?[2J?c" {
		t.Errorf("%q", got)
	}
	if got := printable(strings.Repeat("é", 1000)); len(got) > maxDetail+len("…") || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
}
