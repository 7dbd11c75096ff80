package rehearsal

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func tallyOf(names ...string) *tally {
	t := newTally()
	for _, name := range names {
		t.add(name)
	}
	return t
}

// feed gives the tally lines in a short form: "point b<a 3" is that b received
// message 3 of a.
func feed(t *tally, lines ...string) {
	for _, l := range lines {
		var verticle, who string
		var n int
		if _, err := fmt.Sscan(l, &verticle, &who, &n); err != nil {
			t.line(l)
			continue
		}
		to, from, _ := strings.Cut(who, "<")
		name := map[string]string{"point": pointVerticle, "broadcast": broadcastVerticle}[verticle]
		t.line(fmt.Sprintf("time=1 level=INFO msg=received verticle=%s local=%s received=%s via=link n=%d", name, to, from, n))
	}
}

func TestTallyFindsLosses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines []string
		sent  map[string]uint64 // as the last health check said
		last  []string          // up at the end
		want  []string
	}{
		"nothing": {},
		"all received": {
			lines: []string{"point b<a 1", "point a<a 2", "broadcast a<a 1", "broadcast a<a 2", "broadcast b<a 1", "broadcast b<a 2"},
			sent:  map[string]uint64{"a": 2},
			last:  []string{"a", "b"},
		},
		"a send that nobody received": {
			lines: []string{"point b<a 1", "point a<a 3"},
			want:  []string{"lost: 1 of a to PointVerticle"},
		},
		"the last send": {
			lines: []string{"point b<a 1"},
			sent:  map[string]uint64{"a": 2},
			want:  []string{"lost: 1 of a to PointVerticle"},
		},
		"a send that failed is not lost": {
			lines: []string{"point b<a 1", `msg="not sent" verticle=PointVerticle local=a n=2`, "point b<a 3"},
			want:  []string{"not sent: 1 of a to PointVerticle"},
		},
		"a copy of a publish": {
			lines: []string{"point a<a 1", "point a<a 2", "point a<a 3", "broadcast b<a 1", "broadcast b<a 3", "broadcast a<a 1", "broadcast a<a 2", "broadcast a<a 3"},
			last:  []string{"a", "b"},
			want:  []string{"lost: 1 of a to BroadcastVerticle"},
		},
		"the last copy": {
			lines: []string{"point a<a 1", "point a<a 2", "broadcast b<a 1"},
			last:  []string{"a", "b"},
			want:  []string{"lost: 1 of a to BroadcastVerticle"},
		},
		"copies for one that came late, and has left": {
			lines: []string{"point a<a 1", "point a<a 2", "point a<a 3", "broadcast b<a 2"},
			last:  []string{"a"},
		},
		"what the last line says was sent": {
			lines: []string{"point a<a 1", "msg=stopped local=a sent=3"},
			want:  []string{"lost: 2 of a to PointVerticle"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sum := tallyOf("a", "b")
			feed(sum, c.lines...)
			for name, n := range c.sent {
				sum.healthy(name, n, time.Now())
			}
			sum.ending(c.last, time.Now())
			got := sum.losses(false)
			if !slices.Equal(got, c.want) {
				t.Errorf("losses: %q, want %q", got, c.want)
			}
			if sum.settled() != !strings.Contains(strings.Join(c.want, " "), "lost") {
				t.Errorf("settled: %t", sum.settled())
			}
		})
	}
}

func TestTallyAllowsLossyPublishes(t *testing.T) {
	t.Parallel()
	sum := tallyOf("a", "b")
	feed(sum, "point a<a 1", "point a<a 2", "broadcast a<a 1")
	sum.ending([]string{"a"}, time.Now())
	if got := sum.losses(true); len(got) > 0 {
		t.Errorf("losses: %q", got)
	}
}

func TestTallyFindsFaults(t *testing.T) {
	t.Parallel()
	sum := tallyOf("a", "b")
	start := time.Now()
	sum.healthy("a", 1, start)
	sum.healthy("b", 1, start)
	feed(sum, "point b<a 1", "point a<a 1", "broadcast a<a 1", "broadcast b<a 1", "broadcast b<b 1", "msg=stopped local=a sent=1")
	sum.ending([]string{"a", "b"}, start.Add(metAfter))
	want := []string{"received twice: 1", "a never received a publish of b", "b ended without its last line"}
	if got := sum.faults(); !slices.Equal(got, want) {
		t.Errorf("faults: %q, want %q", got, want)
	}
}

func TestTallyPrints(t *testing.T) {
	t.Parallel()
	sum := tallyOf("a", "b")
	feed(sum, "point a<a 1", "point b<a 2", "point a<b 1", "broadcast a<a 1", "broadcast a<a 2", "broadcast b<a 2", "broadcast b<b 1",
		"msg=stopped local=a sent=3 bus.sent=3 bus.settled=2 bus.bounced=1 bus.unknown=0 bus.deadletters=0")
	var b strings.Builder
	sum.print(&b, func(name string) string { return "task " + name })
	const want = `
PointVerticle (Send: one task receives each message)
              sender  a  b
  received by task a  1  1
  received by task b  1  0
                sent  3  1
                lost  1  0
              failed  0  0

BroadcastVerticle (Publish: every task receives each message)
              sender  a  b
  received by task a  2  0
  received by task b  1  1
                sent  3  1
                lost  0  0
              failed  0  0

The buses' own counters (a message to each consumer counts; sent = settled + bounced + unknown)
          sent  settled  bounced  unknown  deadletters
  task a     3        2        1        0            0
  task b     ?        ?        ?        ?            ?

`
	if b.String() != want {
		t.Errorf("printed:\n%s", b.String())
	}
}
