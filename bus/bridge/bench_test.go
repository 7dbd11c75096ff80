package bridge_test

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bridge"
)

// The benchmarks compare with the original, where it was downloaded: each bridge is a
// process of its own, and this one is all its clients. By turns:
//
//	for i in 1 2 3; do RUNRIG_BRIDGES=DIR go test ./bus/bridge -run - -bench . -benchtime 20000x; done

const childEnv = "RUNRIG_BRIDGE_CHILD" // the ports, in a process that is the bridge

// child is a bridge with the consumers and rules of the behaviours, until its input ends.
func child(ports string) {
	tcp, web, _ := strings.Cut(ports, " ")
	eb := bus.New(bus.WithLogger(slog.New(slog.DiscardHandler)))
	b, err := bridge.New(eb, bridge.Config{Rules: append([]bridge.Rule{{Direction: bridge.In | bridge.Out, Prefix: "re.shared", PublishedOnly: true}}, behaviourRules()...), Logger: slog.New(slog.DiscardHandler), Limits: bridge.Limits{PingTimeout: -1}})
	if err != nil {
		panic(err)
	}
	if _, err := eb.Consume("echo", bus.HandlerFunc(echo)); err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+tcp)
	if err != nil {
		panic(err)
	}
	go func() { _ = b.ServeTCP(l) }() // to the end of the process
	mux := http.NewServeMux()
	mux.Handle("/eventbus/", http.StripPrefix("/eventbus", b))
	h, err := net.Listen("tcp", "127.0.0.1:"+web)
	if err != nil {
		panic(err)
	}
	go func() { _ = http.Serve(h, mux) }() // likewise
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	_ = b.Close()
	os.Exit(0)
}

// rivals are the bridges to be measured, each with its process.
func rivals(b *testing.B, measure func(b *testing.B, s *setup, process *os.Process)) {
	b.Run("here", func(b *testing.B) {
		tcp, web := freePort(b), freePort(b)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+tcp+" "+web)
		measure(b, startBridge(b, cmd, tcp, web), cmd.Process)
	})
	b.Run("original", func(b *testing.B) {
		s, cmd := newOriginal(b)
		measure(b, s, cmd.Process)
	})
}

func BenchmarkTCPEcho(b *testing.B) {
	rivals(b, func(b *testing.B, s *setup, process *os.Process) {
		const clients = 64
		echoes(b, s, clients, clients*200) // for it to get warm
		before := cpu(b, process)
		b.ResetTimer()
		times := echoes(b, s, clients, b.N)
		b.StopTimer()
		b.ReportMetric(float64((cpu(b, process)-before).Nanoseconds())/float64(len(times)), "cpu-ns/req")
		slices.Sort(times)
		b.ReportMetric(float64(len(times))/b.Elapsed().Seconds(), "req/s")
		b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
	})
}

// echoes makes n requests by so many clients, one at a time each, and returns how long
// each took.
func echoes(b *testing.B, s *setup, clients, n int) []time.Duration {
	all := make([][]time.Duration, clients)
	var wg sync.WaitGroup
	for i := range clients {
		p := s.dial("tcp")
		wg.Go(func() {
			defer p.close()
			for range max(1, n/clients) {
				begin := time.Now()
				p.write(`{"type":"send","address":"echo","replyAddress":"12345678-1234-1234-1234-123456789012","headers":{},"body":{"text":"hello","n":1}}`)
				if got := p.read(); !strings.Contains(got, `"hello"`) {
					b.Errorf("it read %s", got)
					return
				}
				all[i] = append(all[i], time.Since(begin))
			}
		})
	}
	wg.Wait()
	return slices.Concat(all...)
}

func BenchmarkPublish(b *testing.B) { publish(b, "x") }

// BenchmarkPublishShared is BenchmarkPublish by a rule with PublishedOnly, which only this
// bridge has.
func BenchmarkPublishShared(b *testing.B) { publish(b, "re.shared") }

func publish(b *testing.B, address string) {
	rivals(b, func(b *testing.B, s *setup, process *os.Process) {
		const clients = 1000
		var got atomic.Int64
		for range clients {
			p := s.dial("websocket")
			p.write(`{"type":"register","address":"` + address + `"}`)
			go func() { // until the connection is closed
				for p.read() != "" {
					got.Add(1)
				}
			}()
		}
		from := s.dial("websocket")
		publish := func() {
			before := got.Load()
			from.write(`{"type":"publish","address":"` + address + `","body":{"text":"hello","n":1}}`)
			for end := time.Now().Add(5 * time.Second); got.Load() < before+clients && time.Now().Before(end); {
				time.Sleep(100 * time.Microsecond)
			}
		}
		time.Sleep(time.Second) // for all to be registered
		for range 20 {
			publish()
		}
		got.Store(0)
		before := cpu(b, process)
		b.ResetTimer()
		for range b.N {
			publish()
		}
		b.StopTimer()
		b.ReportMetric(float64((cpu(b, process)-before).Nanoseconds())/float64(got.Load()), "cpu-ns/copy")
		b.ReportMetric(float64(got.Load())/b.Elapsed().Seconds(), "copies/s")
		b.ReportMetric(float64(got.Load())/float64(b.N*clients), "read")
	})
}

// BenchmarkIdle connects so many idle WebSockets and tells what each takes.
func BenchmarkIdle(b *testing.B) {
	rivals(b, func(b *testing.B, s *setup, process *os.Process) {
		s.dial("sockjs").write(`{"type":"ping"}`)
		base := rss(b, process)
		for range b.N {
			s.dial("sockjs").write(`{"type":"register","address":"x"}`)
		}
		time.Sleep(3 * time.Second)
		b.StopTimer()
		b.ReportMetric(float64(rss(b, process)-base)/float64(b.N), "B/socket")
	})
}

// cpu returns how long a process has run, of all its threads together: a figure that other
// work on the machine changes little.
func cpu(b testing.TB, p *os.Process) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
	if err != nil {
		b.Skip(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	const user, system = 11, 12 // from the state on, which is field 3 of proc(5)
	ticks := 0
	for _, i := range []int{user, system} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // of 100 a second
}

// rss returns the memory that a process has.
func rss(b *testing.B, p *os.Process) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid))
	if err != nil {
		b.Skip(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n << 10
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// BenchmarkBeside tells how much of their rate clients keep beside one that misbehaves, of
// what they have without it: one that registers and unregisters 1,000 times a second; one
// that never reads what is published to it, 10 MB a second; and one that never reads what
// is published as fast as it goes, where without it the same is published to nobody.
func BenchmarkBeside(b *testing.B) {
	nothing := func(_ *setup, stop chan struct{}) { <-stop }
	for _, c := range []struct {
		name            string
		without, beside func(s *setup, stop chan struct{})
	}{
		{"registering", nothing, registering},
		{"deaf", nothing, func(s *setup, stop chan struct{}) {
			defer deaf(s, "x").close()
			publishing(s, stop, "x", time.Millisecond)
		}},
		{"deaf, at full speed", func(s *setup, stop chan struct{}) { publishing(s, stop, "nobody", 0) }, func(s *setup, stop chan struct{}) {
			defer deaf(s, "x").close()
			publishing(s, stop, "x", 0)
		}},
		{"deaf, shared, at full speed", func(s *setup, stop chan struct{}) { publishing(s, stop, "nobody", 0) }, func(s *setup, stop chan struct{}) {
			defer deaf(s, "re.shared").close()
			publishing(s, stop, "re.shared", 0)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			tcp, web := freePort(b), freePort(b)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childEnv+"="+tcp+" "+web)
			s := startBridge(b, cmd, tcp, web)
			rate := func(load func(s *setup, stop chan struct{})) float64 {
				stop, stopped := make(chan struct{}), make(chan struct{})
				go func() { defer close(stopped); load(s, stop) }()
				begin := time.Now()
				n := len(echoes(b, s, 16, b.N))
				took := time.Since(begin)
				close(stop)
				<-stopped
				return float64(n) / took.Seconds()
			}
			rate(c.beside)
			var without, beside float64
			for range 3 { // by turns
				without += rate(c.without)
				beside += rate(c.beside)
			}
			b.ReportMetric(100*beside/without, "%")
		})
	}
}

func registering(s *setup, stop chan struct{}) {
	p := s.dial("tcp")
	defer p.close()
	for each := time.NewTicker(time.Millisecond); ; {
		select {
		case <-each.C:
			p.write(`{"type":"register","address":"x"}`)
			p.write(`{"type":"unregister","address":"x"}`)
		case <-stop:
			return
		}
	}
}

// deaf is a client that is registered at an address, and never reads.
func deaf(s *setup, address string) peer {
	p := s.dial("tcp")
	p.write(`{"type":"register","address":"` + address + `"}`)
	return p
}

// publishing publishes 10 KB each time, or without rest.
func publishing(s *setup, stop chan struct{}, address string, each time.Duration) {
	p := s.dial("tcp")
	defer p.close()
	frame := `{"type":"publish","address":"` + address + `","body":"` + strings.Repeat("x", 10<<10) + `"}`
	for {
		select {
		case <-stop:
			return
		case <-time.After(each):
			p.write(frame)
		}
	}
}
