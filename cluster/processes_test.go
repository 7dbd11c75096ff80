package cluster_test

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/long"
)

// figures lets tests of faults take the time that the figures of FAULTS.md are taken
// in; .ci/run faults runs all with it.
var figures bool

func init() {
	flag.BoolFunc("figures", "run all tests, and let those of faults take their time: TestChaos, TestLongPartition, TestProcesses, TestNetworks, TestAttack",
		func(value string) (err error) {
			if figures, err = strconv.ParseBool(value); err == nil && figures {
				err = flag.Set("long", "true")
			}
			return err
		})
}

// Nodes in processes of their own, on the loopback, keep the promises whatever
// happens to a process.
func TestProcesses(t *testing.T) {
	long.Only(t, "processes take a while")
	runFaults(t, []fault{
		{"kill -9 of a consumer's process", testKill},
		{"stopped for 2 s", func(t *testing.T) result { return testStop(t, 2*time.Second) }},
		{"stopped for 30 s", testLongStop},
		{"slow reader", testSlowReader},
		{"no descriptors left", testNoFiles},
		{"a tenth of a CPU, 32 MiB", testSqueeze},
		{"rolling restart of 5", testRolling},
		{"closed with a backlog", testBacklog},
		{"a handler panics", testPanic},
		{"consumers come and go", testChurn},
		{"disorder", testDisorder},
	})
}

// A fault is what happens to processes, and what comes of it.
type fault struct {
	name string
	run  func(t *testing.T) result
}

// runFaults runs tests that wait for most of their time side by side, but one after
// the other where their figures count, and shows a table of what came of them.
func runFaults(t *testing.T, faults []fault) {
	table := make([]string, len(faults))
	t.Cleanup(func() {
		done := slices.DeleteFunc(table, func(line string) bool { return line == "" })
		t.Logf("\n%s\n%s", tableHead, strings.Join(done, "\n"))
	})
	for i, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			sideBySide(t)
			table[i] = f.run(t).line(f.name)
		})
	}
}

// sideBySide lets a test run beside others unless its figures count.
func sideBySide(t *testing.T) {
	t.Helper()
	if !figures {
		t.Parallel()
	}
}

// A result is a line of the table.
type result struct {
	Tally
	lost int // -1: what the killed handled is not known
	seen string
}

var tableHead = fmt.Sprintf("%-34s %9s %7s %9s %6s  %s", "fault", "requests", "failed", "sends", "lost", "seen")

func (r result) line(fault string) string {
	lost := strconv.Itoa(r.lost)
	if r.lost < 0 {
		lost = "-"
	}
	return fmt.Sprintf("%-34s %9d %7d %9d %6s  %s", fault, r.Requests, len(r.Failed), r.Sends, lost, r.seen)
}

// atLength returns the time that a phase of a test takes in short and long form.
func atLength(short, longer time.Duration) time.Duration {
	if figures {
		return longer
	}
	return short
}

// heavy returns the rate of a load, a second.
func heavy(short int) int {
	if figures {
		return 1000
	}
	return short
}

// lightly returns what a handler takes: nothing under the heavier load, of which
// one would be too slow otherwise.
func lightly(short time.Duration) time.Duration {
	if figures {
		return 0
	}
	return short
}

// fleet starts a process that sends, and n consumers of "work" with which it is
// linked.
func fleet(t *testing.T, n int, takes time.Duration) (sender *process, consumers []*process) {
	t.Helper()
	sender = spawn(t, "sender", Start{Secret: secret})
	for i := range n {
		c := spawn(t, fmt.Sprint("consumer-", i), Start{Secret: secret}, sender)
		c.consume(Consume{Address: "work", Takes: takes})
		consumers = append(consumers, c)
	}
	sender.awaitLinked(consumers...)
	return sender, consumers
}

// kinds counts failures by kind.
func kinds(fs []Failure) map[string]int {
	count := map[string]int{}
	for _, f := range fs {
		count[f.Kind]++
	}
	return count
}

// allFailed checks that failures are of one kind.
func allFailed(t *testing.T, tally Tally, kind error) {
	t.Helper()
	for k := range kinds(tally.Failed) {
		if k != kind.Error() {
			t.Errorf("calls failed with %v; want %v only", kinds(tally.Failed), kind)
			return
		}
	}
}

// brokenAt returns the end of the link with a process, as another saw it.
func brokenAt(t *testing.T, tally Tally, peer *process) Break {
	t.Helper()
	i := slices.IndexFunc(tally.Breaks, func(b Break) bool { return b.Peer == peer.name })
	if i < 0 {
		t.Fatalf("the link with %s did not break: %+v", peer.name, tally.Breaks)
	}
	return tally.Breaks[i]
}

// The requests that the killed process had fail at once, nothing is sent to it any
// more, and the others serve on.
func testKill(t *testing.T) result {
	const limit = 100 * time.Millisecond
	sender, cs := fleet(t, 3, lightly(5*time.Millisecond))
	before := atRest(sender, cs[0], cs[2])
	sender.load(Load{Address: "work", Requests: heavy(300), Sends: heavy(100), Timeout: 5 * time.Second})
	pass(atLength(time.Second, 10*time.Second))
	killed := time.Now()
	cs[1].signal(syscall.SIGKILL)
	pass(atLength(2*time.Second, 20*time.Second))
	tally := sender.unload()
	b := brokenAt(t, tally, cs[1])
	allFailed(t, tally, bus.ErrLinkLost)
	rests(t, before, 1)
	var latest time.Duration
	for _, f := range tally.Failed {
		latest = max(latest, f.At.Sub(b.At))
	}
	if latest > limit {
		t.Errorf("a request failed %v after the link broke, want %v", latest, limit)
	}
	if len(tally.Failed) > senders {
		t.Errorf("%d requests failed, more than were under way", len(tally.Failed))
	}
	lost := judge(t, sender, cs[0], cs[2])
	after := 0
	for _, k := range lost {
		if strings.HasSuffix(k.Sender, "send 0") && k.Seq > b.Sent+1 { // one may have been on its way
			after++
		}
	}
	if after > 0 {
		t.Errorf("%d sends went to the killed process after its link had broken", after)
	}
	return result{tally, after, fmt.Sprintf("link broke %v after the kill, last failure %v later", b.At.Sub(killed).Round(time.Millisecond/10), latest.Round(time.Millisecond/10))}
}

// A process that stops for a moment keeps its links and loses nothing. One that
// stops for long loses its links, comes back by itself, and no message or reply
// from before counts.
func testStop(t *testing.T, d time.Duration) result {
	sender, cs := fleet(t, 3, lightly(time.Millisecond))
	keeps, before := d < 3*time.Second, atRest(append(cs, sender)...)
	sender.load(Load{Address: "work", Requests: heavy(200), Sends: heavy(50), Timeout: 8 * time.Second})
	pass(time.Second)
	stopped := time.Now()
	cs[1].freeze()
	pass(d)
	lines := cs[1].log.len()
	cs[1].thaw()
	resumed := time.Now()
	sender.awaitLinked(cs...)
	cs[1].awaitLinked(sender, cs[0], cs[2])
	back := time.Since(resumed)
	pass(time.Second)
	if n := cs[1].log.len() - lines; n > 50 {
		t.Errorf("it logged %d lines when it went on", n)
	}
	tally := sender.unload()
	rests(t, before, 0)
	lost := judge(t, sender, cs[0], cs[1], cs[2])
	r := result{tally, len(lost), ""}
	if keeps {
		if len(tally.Failed) > 0 || len(lost) > 0 || len(tally.Breaks) > 0 {
			t.Errorf("failed %v, lost %d, links that broke %+v; want none", kinds(tally.Failed), len(lost), tally.Breaks)
		}
		r.seen = "the link held"
		return r
	}
	allFailed(t, tally, bus.ErrLinkLost)
	b := brokenAt(t, tally, cs[1])
	noticed := b.At.Sub(stopped)
	if noticed > 6*time.Second {
		t.Errorf("noticed after %v", noticed)
	}
	for _, f := range tally.Failed {
		if late := f.At.Sub(b.At); late > overload {
			t.Errorf("a request failed %v after the link broke", late)
		}
	}
	if s := sender.status().Bus; uint64(len(lost)) > s.Unknown {
		t.Errorf("%d lost, of %d unknown", len(lost), s.Unknown)
	}
	r.seen = fmt.Sprintf("link broke after %v, linked again %v after it went on", noticed.Round(time.Millisecond), back.Round(time.Millisecond))
	return r
}

func testLongStop(t *testing.T) result {
	if !figures {
		t.Skip("half a minute: with -figures")
	}
	return testStop(t, 30*time.Second)
}

// A consumer that handles nothing holds up who sends to it, within bounds, and
// nobody else.
func testSlowReader(t *testing.T) result {
	sender, cs := fleet(t, 2, 0)
	reader := spawn(t, "reader", Start{Secret: secret}, sender, cs[0], cs[1])
	flood := spawn(t, "flood", Start{Secret: secret}, sender, cs[0], cs[1], reader)
	reader.consume(Consume{Address: "stuck", Stuck: true})
	sender.awaitLinked(append(cs, reader, flood)...)
	rate := func(for_ time.Duration) Tally {
		sender.load(Load{Address: "work", Requests: 200, Sends: 100, Timeout: 5 * time.Second})
		pass(for_)
		return sender.unload()
	}
	base := rate(time.Second)
	empty := reader.status().RSS
	flood.load(Load{Address: "stuck", Sends: 5000, Senders: 50, Timeout: 200 * time.Millisecond, Pad: 8 << 10})
	pass(time.Second)
	full := reader.status().RSS
	during := rate(atLength(3*time.Second, 3*time.Minute))
	later, at := reader.status().RSS, flood.status().RSS
	share := perSecond(during) / perSecond(base)
	if share < 0.9 || len(during.Failed) > 0 {
		t.Errorf("others had %.0f%% of their rate, and %v failed; want 90%%, none", 100*share, kinds(during.Failed))
	}
	if grown := later - empty; grown > 16<<20 {
		t.Errorf("the slow reader has grown by %d MiB; its window is 1 MiB and 64 KiB", grown>>20)
	}
	tally := flood.unload()
	allFailed(t, tally, bus.ErrBusy)
	if len(tally.Failed) == 0 {
		t.Error("the flood was not held up")
	}
	call(reader, "Release", None{}, new(None))
	lost := judge(t, sender, cs[0], cs[1], reader, flood)
	if expired := reader.status().Bus.Expired; uint64(len(lost)) != expired {
		t.Errorf("%d sends were not handled, %d of them as their deadline was over", len(lost), expired)
	}
	return result{during, 0, fmt.Sprintf("others at %.0f%%; reader's RSS %.1f -> %.1f -> %.1f MiB, flooder's %.1f, its sends refused busy %d",
		100*share, mib(empty), mib(full), mib(later), mib(at), len(tally.Failed))}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// perSecond is the rate of calls that went well.
func perSecond(t Tally) float64 {
	return float64(t.Replies+t.Sends) / t.Took.Seconds()
}

// A process that can open no more files serves those it is linked with, and takes
// new ones when it can again.
func testNoFiles(t *testing.T) result {
	sender, cs := fleet(t, 2, 0)
	sender.load(Load{Address: "work", Requests: 200, Sends: 100, Timeout: 5 * time.Second})
	pass(time.Second)
	call(cs[1], "Exhaust", uint64(256), new(None))
	before := cs[1].log.len()
	late := spawn(t, "late", Start{Secret: secret}, cs[1], sender)
	pass(atLength(3*time.Second, 30*time.Second))
	if got := late.status().Linked; slices.Contains(got, cs[1].name) {
		t.Errorf("late is linked with %v; nothing is tested", got)
	}
	if n := cs[1].log.len() - before; n > 60 {
		t.Errorf("it logged %d lines meanwhile", n)
	}
	call(cs[1], "Refill", None{}, new(None))
	began := time.Now()
	late.awaitLinked(sender, cs[0], cs[1])
	took := time.Since(began)
	tally := sender.unload()
	lost := judge(t, sender, cs[0], cs[1])
	if len(tally.Failed) > 0 || len(lost) > 0 {
		t.Errorf("failed %v, lost %d; want none", kinds(tally.Failed), len(lost))
	}
	return result{tally, len(lost), fmt.Sprintf("a newcomer linked %v after files were free", took.Round(time.Millisecond))}
}

// A node leaves whose consumer has far more to do than it can: what it has not
// handled goes to another.
func testBacklog(t *testing.T) result {
	sender, cs := fleet(t, 2, 0)
	slow := spawn(t, "slow", Start{Secret: secret}, sender, cs[0], cs[1])
	slow.consume(Consume{Address: "work", Takes: 100 * time.Millisecond})
	sender.awaitLinked(append(cs, slow)...)
	sender.load(Load{Address: "work", Requests: heavy(300), Sends: heavy(300), Timeout: 20 * time.Second})
	pass(atLength(3*time.Second, 10*time.Second))
	took := slow.close()
	pass(time.Second)
	tally := sender.unload()
	lost := judge(t, sender, cs[0], cs[1], slow)
	back := sender.status().Bus.Bounced
	if len(tally.Failed) > 0 || len(lost) > 0 {
		t.Errorf("failed %v, lost %d; want none", kinds(tally.Failed), len(lost))
	}
	if back < 20 {
		t.Errorf("%d messages were sent back; nothing is tested", back)
	}
	return result{tally, len(lost), fmt.Sprintf("%d messages were sent back and handled by others; the leave took %v", back, took.Round(time.Millisecond))}
}

// A handler that panics answers its requester at once, and is called again.
func testPanic(t *testing.T) result {
	sender, cs := fleet(t, 1, 0)
	cs[0].consume(Consume{Address: "broken", Panics: true})
	sender.awaitLinked(cs...)
	sender.load(Load{Address: "broken", Requests: 100, Timeout: 20 * time.Second})
	pass(atLength(time.Second, 5*time.Second))
	tally := sender.unload()
	var slowest time.Duration
	for _, f := range tally.Failed {
		slowest = max(slowest, f.Took)
	}
	if n := kinds(tally.Failed)[handlerFailed]; n != tally.Requests || n == 0 {
		t.Errorf("of %d requests failed %v, want all as %q", tally.Requests, kinds(tally.Failed), handlerFailed)
	}
	if slowest > overload {
		t.Errorf("a request failed after %v only", slowest)
	}
	return result{tally, 0, fmt.Sprintf("each request got an error; the slowest after %v", slowest.Round(time.Millisecond/10))}
}

// A process that gets a tenth of a CPU, in slices as a quota gives them, and little
// memory, is slow; nobody takes it for failed.
func testSqueeze(t *testing.T) result {
	const period, share = 100 * time.Millisecond, 10 * time.Millisecond
	sender, cs := fleet(t, 2, 0)
	poor := spawn(t, "poor", Start{Secret: secret, Memory: 32 << 20}, sender, cs[0], cs[1])
	poor.consume(Consume{Address: "work"})
	sender.awaitLinked(append(cs, poor)...)
	sender.load(Load{Address: "work", Requests: 300, Sends: 300, Timeout: 10 * time.Second, Pad: 1 << 10})
	for over := time.After(atLength(5*time.Second, time.Minute)); over != nil; {
		poor.freeze()
		pass(period - share)
		poor.thaw()
		select {
		case <-over:
			over = nil
		case <-time.After(share):
		}
	}
	tally := sender.unload()
	sender.awaitLinked(append(cs, poor)...)
	all := append(cs, sender, poor)
	lost := judge(t, all...)
	if len(tally.Failed) > 0 || len(lost) > 0 || len(tally.Breaks) > 0 {
		t.Errorf("failed %v, lost %d, links that broke %+v; want none", kinds(tally.Failed), len(lost), tally.Breaks)
	}
	for _, p := range all {
		if p.log.has("member failed") {
			t.Errorf("%s took a node for failed", p.name)
		}
	}
	return result{tally, len(lost), fmt.Sprintf("the link held, nobody was taken for failed; slowest call %v, RSS %.1f MiB",
		tally.Slowest.Round(time.Millisecond), mib(poor.status().RSS))}
}

// Each of five nodes is replaced under load: nothing fails, nothing is lost.
func testRolling(t *testing.T) result {
	sender, cs := fleet(t, 5, lightly(time.Millisecond))
	all, before := append([]*process{sender}, cs...), atRest(sender)
	sender.load(Load{Address: "work", Requests: heavy(200), Sends: heavy(200), Timeout: 20 * time.Second})
	pass(atLength(time.Second, 5*time.Second))
	var slowest time.Duration
	for i := range cs {
		next := spawn(t, fmt.Sprint("next-", i), Start{Secret: secret}, sender)
		next.consume(Consume{Address: "work", Takes: lightly(time.Millisecond)})
		slowest = max(slowest, cs[i].close())
		all, cs[i] = append(all, next), next
		pass(atLength(100*time.Millisecond, 2*time.Second))
	}
	tally := sender.unload()
	sender.awaitLinked(cs...)
	rests(t, before, 5)
	lost := judge(t, all...)
	if len(tally.Failed) > 0 || len(lost) > 0 {
		t.Errorf("failed %v, lost %d; want none", kinds(tally.Failed), len(lost))
	}
	if slowest > 10*time.Second {
		t.Errorf("a node took %v to leave", slowest)
	}
	return result{tally, len(lost), fmt.Sprintf("slowest leave %v, slowest call %v", slowest.Round(time.Millisecond), tally.Slowest.Round(time.Millisecond))}
}
