package cluster_test

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/long"
)

// scales are the sizes of the clusters that TestScale measures.
var scales = []int{5}

func init() {
	flag.Func("scale", "sizes of the clusters of processes that TestScale measures, as 10,50,100", func(value string) error {
		scales = nil
		for s := range strings.SplitSeq(value, ",") {
			n, err := strconv.Atoi(s)
			if err != nil {
				return err
			}
			scales = append(scales, n)
		}
		return nil
	})
}

// What a cluster of processes costs, with a secret, all on this machine: SCALE.md has the
// table.
func TestScale(t *testing.T) {
	long.Only(t, "many processes take a while")
	table := []string{scaleHead}
	t.Logf("processors: %d, Go: %s %s/%s, load before: %s", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, loadAverage())
	for _, n := range scales {
		t.Run(strconv.Itoa(n), func(t *testing.T) { table = append(table, testScale(t, n).line(n)) })
	}
	t.Logf("\n%s", strings.Join(table, "\n"))
}

// A scaled is a line of the table.
type scaled struct {
	mesh, meshCPU time.Duration // from the start of the first process until all are linked
	last          time.Duration // the Join of one more
	lines         int           // of the log at INFO of the start, the most of a node
	rss, heap     int64         // of a node
	goroutines    int
	idle          float64 // share of a core that all take
	idleBytes     float64 // a second and link
	rolled        Tally
	closed        time.Duration
	failedAtEnd   int
	lost          int
}

const scaleHead = "| nodes | full mesh | CPU | one more | lines | RSS | heap, stacks | goroutines | idle, all | B/s a link | rolling: calls, failed | all close | failed, lost |"

func (s scaled) line(n int) string {
	return fmt.Sprintf("| %d | %.1f s | %.1f s | %.2f s | %d | %.1f MiB | %.1f MiB | %d | %.2f cores | %.0f | %d, %d | %.2f s | %d, %d |",
		n, s.mesh.Seconds(), s.meshCPU.Seconds(), s.last.Seconds(), s.lines, float64(s.rss)/(1<<20), float64(s.heap)/(1<<20), s.goroutines,
		s.idle, s.idleBytes, s.rolled.Requests+s.rolled.Sends, len(s.rolled.Failed), s.closed.Seconds(), s.failedAtEnd, s.lost)
}

func testScale(t *testing.T, n int) (s scaled) {
	addrs := freePorts(t, n+1)
	all := s.start(t, addrs[:n])
	s.idleFigures(all)
	s.joinOne(t, all, addrs)
	s.roll(t, all[:n], addrs)
	s.closeAll(t, all[:n])
	return s
}

// start starts processes at the same moment, and waits until all are linked.
func (s *scaled) start(t *testing.T, addrs []string) []*process {
	began := time.Now()
	all := make([]*process, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		p, in, out := launch(t, fmt.Sprint("node-", i), exec.Command(executable(t)))
		all[i] = p
		wg.Go(func() { p.join(in, out, Start{Secret: secret, Bind: addr, Peers: addrs}, nil) })
	}
	wg.Wait()
	for _, p := range all {
		within(t, 2*time.Minute, p.name+" is linked with all", func() bool { return len(p.status().Linked) == len(all)-1 })
	}
	s.mesh, s.meshCPU = time.Since(began), usage(all, false).CPU
	pass(atLength(0, 11*time.Second)) // what the log keeps back for a spell
	for _, p := range all {
		s.lines = max(s.lines, p.log.len())
	}
	return all
}

// idleFigures measures all while nothing is sent.
func (s *scaled) idleFigures(all []*process) {
	spell := atLength(time.Second, 20*time.Second)
	u := usage(all, true)
	s.rss, s.heap, s.goroutines = u.RSS/int64(len(all)), u.Heap/int64(len(all)), u.Goroutines/len(all)
	before, began := usage(all, false), time.Now()
	pass(spell)
	after, took := usage(all, false), time.Since(began).Seconds()
	s.idle = (after.CPU - before.CPU).Seconds() / took
	s.idleBytes = float64(after.Bytes-before.Bytes) / took / float64(len(all)*(len(all)-1)/2)
}

// joinOne has one more join, and leave again.
func (s *scaled) joinOne(t *testing.T, all []*process, addrs []string) {
	p, in, out := launch(t, "last", exec.Command(executable(t)))
	began := time.Now()
	p.join(in, out, Start{Secret: secret, Bind: addrs[len(all)], Peers: addrs}, nil)
	within(t, time.Minute, "the last is linked with all", func() bool { return len(p.status().Linked) == len(all) })
	s.last = time.Since(began)
	p.close()
	p.end()
}

// roll replaces each process but the first, which sends, one after the other.
func (s *scaled) roll(t *testing.T, all []*process, addrs []string) {
	for _, p := range all[1:] {
		p.consume(Consume{Address: "work"})
	}
	all[0].load(Load{Address: "work", Requests: 200, Sends: 100, Timeout: 10 * time.Second})
	var ended []*process
	for i := 1; i < len(all); i++ {
		p := all[i]
		p.close()
		ended = append(ended, p)
		next, in, out := launch(t, p.name+"-again", exec.Command(executable(t)))
		next.join(in, out, Start{Secret: secret, Bind: addrs[i], Peers: addrs}, nil)
		next.consume(Consume{Address: "work"})
		all[i] = next
	}
	s.rolled = all[0].unload()
	if lost := judge(t, append(ended, all...)...); len(lost) > 0 {
		t.Errorf("%d sends were lost while processes were replaced", len(lost))
	}
	for _, p := range ended {
		p.end()
	}
	for _, p := range all {
		call(p, "Renew", None{}, new(None))
	}
}

// closeAll closes all at once, while each sends to all others.
func (s *scaled) closeAll(t *testing.T, all []*process) {
	all[0].consume(Consume{Address: "work"})
	for _, p := range all {
		p.load(Load{Address: "work", Requests: 10, Sends: 10, Timeout: 10 * time.Second})
	}
	pass(atLength(time.Second, 3*time.Second))
	took := make([]time.Duration, len(all))
	var wg sync.WaitGroup
	for i, p := range all {
		wg.Go(func() { took[i] = p.close() })
	}
	wg.Wait()
	s.closed = slices.Max(took)
	for _, p := range all {
		for kind, count := range kinds(p.unload().Failed) {
			if kind != bus.ErrClosed.Error() {
				t.Logf("%s: %d %s", p.name, count, kind)
				s.failedAtEnd += count
			}
		}
	}
	s.lost = len(judge(t, all...))
}

func usage(all []*process, collect bool) (sum Usage) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() {
			var u Usage
			call(p, "Usage", collect, &u)
			mu.Lock()
			defer mu.Unlock()
			sum.CPU, sum.RSS, sum.Heap, sum.Bytes, sum.Goroutines = sum.CPU+u.CPU, sum.RSS+u.RSS, sum.Heap+u.Heap, sum.Bytes+u.Bytes, sum.Goroutines+u.Goroutines
		})
	}
	wg.Wait()
	return sum
}

// loadAverage is what the system says of the load, in a minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "not known"
	}
	return strings.Fields(string(text))[0]
}

// freePorts returns addresses of the loopback at which nobody listens.
func freePorts(t *testing.T, n int) (addrs []string) {
	t.Helper()
	for i := range n {
		ip := net.IPv4(127, 21, byte(i>>8), byte(i&0xff)+1)
		if runtime.GOOS != "linux" {
			ip = net.IPv4(127, 0, 0, 1)
		}
		l, err := net.Listen("tcp", net.JoinHostPort(ip.String(), "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}
