package dashboard_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/cluster/dashboard"
	"github.com/runrig-go/runrig/cluster/inspect"
)

// large is a cluster of so many nodes, each of which has so many addresses. n counts the
// snapshots.
func large(nodes, addresses int, n uint64) inspect.Cluster {
	c := inspect.Cluster{Version: 1, Time: time.Now(), Asker: "node-00-0"}
	for i := range nodes {
		name := fmt.Sprintf("node-%02d", i)
		node := inspect.Node{Version: 1, Time: c.Time, Self: inspect.Self{
			ID: name + "-0", Name: name, Boot: fmt.Sprintf("%016x", i), Address: fmt.Sprintf("10.0.0.%d:7946", i+1),
			Cluster: "large", Secured: true, State: "ready", Started: c.Time.Add(-time.Hour),
		}}
		c.Members = append(c.Members, inspect.Member{ID: node.Self.ID, Name: name, Boot: node.Self.Boot, Address: node.Self.Address, Status: "alive", Linked: true})
		for k := range nodes {
			if k == i {
				continue
			}
			out, trip := n*uint64(1000+i*k), 0.0001*float64(1+i+k)
			node.Links = append(node.Links, inspect.Link{ID: fmt.Sprintf("node-%02d-0", k), Name: fmt.Sprintf("node-%02d", k), Boot: fmt.Sprintf("%016x", k), BytesIn: &out, BytesOut: &out, RoundTrip: &trip})
		}
		for k := range addresses {
			m := inspect.Messages{Sent: n * uint64(k%97), Settled: n * uint64(k%97), Handled: n * uint64(k%89)}
			node.Addresses = append(node.Addresses, inspect.Address{Address: fmt.Sprintf("shop.%04d", k), Consumers: nodes, Local: 1, Messages: m})
			node.Messages.Add(m)
		}
		c.Nodes = append(c.Nodes, node)
	}
	return c
}

// serve is an address of the loopback where h is served until the end of the test.
func serve(t *testing.T, h http.Handler) (url string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.CloseClientConnections)
	t.Cleanup(func() { go s.Close() })
	return s.URL + "/"
}

// TestFiguresOfPage: what the page costs a browser, shown fifty nodes with a thousand
// addresses each, and members and addresses that come and go. The bars of the figures
// are asserted with half as much again for a busy machine.
func TestFiguresOfPage(t *testing.T) {
	browserOrSkip(t)
	n, began := uint64(0), time.Now()
	url := serve(t, dashboard.Shown(func() inspect.Cluster {
		n++
		return large(50, 1000, n)
	}))
	f := browser(t, "figures", url, nil, nil)
	t.Logf("%v; %d snapshots in %v", f, n, time.Since(began))
	for _, panel := range []string{"overview", "addresses", "links"} {
		if ms := f["script_ms_"+panel]; ms <= 0 || ms > 90 {
			t.Errorf("%s: %v ms of script a second; wanted are at most 60", panel, ms)
		}
	}
}

// TestFiguresOfServer: what five tabs cost the node that serves them, of three under
// load, by its CPU time.
func TestFiguresOfServer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	s := openShop(t, child{Names: []string{"web-1"}, Addresses: 8, Rate: 334})
	for range 3 { // what the others do to the machine is in each part alike
		without := s.cpu(15 * time.Second)
		var tabs []net.Conn
		for range 5 {
			tabs = append(tabs, s.tab())
		}
		with := s.cpu(15 * time.Second)
		for _, c := range tabs {
			_ = c.Close()
		}
		t.Logf("CPU of the serving node: %.2f %% of a core without a tab, %.2f %% with five: %+.2f %%", 100*without, 100*with, 100*(with-without))
	}
}

// cpu is the share of a core that the serving node uses.
func (s *shop) cpu(over time.Duration) float64 {
	ticks := func() float64 {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.server.cmd.Process.Pid))
		if err != nil {
			s.t.Fatal(err)
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		user, _ := strconv.ParseFloat(fields[11], 64)
		system, _ := strconv.ParseFloat(fields[12], 64)
		return user + system
	}
	before := ticks()
	<-time.After(over)
	return (ticks() - before) / 100 / over.Seconds()
}

// tab opens the stream, and reads all that comes.
func (s *shop) tab() net.Conn {
	c, err := net.Dial("tcp", s.first.Serve)
	if err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprintf(c, "GET /debug/runrig/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
	go func() { // until it is closed
		buf := make([]byte, 64<<10)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}()
	return c
}

// BenchmarkView is what the serving node does with an answer of fifty nodes.
func BenchmarkView(b *testing.B) {
	for _, size := range [][2]int{{3, 20}, {50, 100}, {50, 1000}} {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			before, now := large(size[0], size[1], 1), large(size[0], size[1], 2)
			now.Time = before.Time.Add(time.Second)
			for b.Loop() {
				dashboard.View(&before, &now)
			}
		})
	}
}
