package clusterprom_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clusterprom"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/verticle"
)

var quiet = slog.New(slog.DiscardHandler)

// join starts a node on the loopback that is closed at the end of the test.
func join(t *testing.T, peers ...string) *cluster.Node {
	t.Helper()
	n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(quiet)), cluster.Config{Bind: "127.0.0.1:0", Discovery: discovery.Static(peers...), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func registry(t *testing.T, c prometheus.Collector) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	return reg
}

// values are the samples of a registry, by name and labels.
func values(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			all[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}

// await retries until ok, for at most ten seconds: a snapshot is used for a second.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func consume(t *testing.T, eb *bus.EventBus, address string, err error) {
	t.Helper()
	if _, cerr := eb.Consume(address, bus.HandlerFunc(func(context.Context, *bus.Message) error { return err })); cerr != nil {
		t.Fatal(cerr)
	}
}

// TestCollector: the figures are those of the bus and the cluster, and the names are as
// Prometheus wants them.
func TestCollector(t *testing.T) {
	t.Parallel()
	a := join(t)
	b := join(t, a.Self().Addr)
	reg := registry(t, clusterprom.New(a))
	consume(t, a.EventBus(), "work", nil)
	consume(t, a.EventBus(), "sick", errors.New("no"))
	if _, err := verticle.Deploy(t.Context(), a.EventBus(), verticle.Func(func(context.Context, *verticle.Deployment) error { return nil }), verticle.WithName("v"), verticle.WithLogger(quiet)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, _ = a.EventBus().Request(t.Context(), "work", nil)
	}
	_ = a.EventBus().Send(t.Context(), "sick", nil)
	want := map[string]float64{
		"runrig_cluster_members{status=alive}":                                          2,
		"runrig_cluster_members{status=failed}":                                         0,
		"runrig_link_up{peer=" + b.Self().String() + "}":                                1,
		"runrig_node_serving{}":                                                         1,
		"runrig_node_state{state=ready}":                                                1,
		"runrig_node_state{state=alone}":                                                0,
		"runrig_eventbus_messages_delivered_total{address=work}":                        3,
		"runrig_eventbus_messages_sent_total{address=work}":                             3,
		"runrig_eventbus_handlers{address=work}":                                        1,
		"runrig_eventbus_messages_failed_total{address=sick,reason=error}":              1,
		"runrig_verticles{state=running}":                                               1,
		"runrig_verticle_restarts{verticle=v}":                                          0,
		"runrig_membership_events_total{event=joined}":                                  1,
		"runrig_auth_failures_total{by=self,reason=secret}":                             0,
		"runrig_gossip_messages_total{kind=sent}":                                       0,
		"runrig_addresses_left_out{}":                                                   0,
		"runrig_eventbus_consumers{address=_runrig.inspect}":                            1,
		"runrig_node_info{cluster=runrig,node=" + a.Self().String() + ",secured=false}": 1,
	}
	var got map[string]float64
	differs := func() (all []string) {
		got = values(t, reg)
		for name, v := range want {
			if is, ok := got[name]; !ok || is != v {
				all = append(all, fmt.Sprintf("%s is %v, want %v", name, is, v))
			}
		}
		return all
	}
	defer func() {
		if t.Failed() {
			t.Log(strings.Join(differs(), "\n"))
		}
	}()
	await(t, "bytes of links are told", func() bool {
		got := values(t, reg)
		return got["runrig_link_bytes_total{direction=in,peer="+b.Self().String()+"}"] > 0 && got["runrig_link_bytes_total{direction=out,peer="+b.Self().String()+"}"] > 0
	})
	await(t, "the figures are right", func() bool { return len(differs()) == 0 })
	problems, err := testutil.GatherAndLint(reg)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestManyAddresses: 200 have series of their own, and keep them; no counter ever goes
// back.
func TestManyAddresses(t *testing.T) {
	t.Parallel()
	n := join(t)
	eb := n.EventBus()
	for i := range 1000 {
		consume(t, eb, fmt.Sprintf("a%04d", i), nil)
	}
	consume(t, eb, "busy", nil)
	for range 5 {
		_, _ = eb.Request(t.Context(), "busy", nil)
		_, _ = eb.Request(t.Context(), "a0999", nil)
	}
	reg := registry(t, clusterprom.New(n))
	first := values(t, reg)
	own := 0
	for name := range first {
		if strings.HasPrefix(name, "runrig_eventbus_handlers{") {
			own++
		}
	}
	if own != 201 || first["runrig_eventbus_messages_delivered_total{address=busy}"] != 5 || first["runrig_addresses_left_out{}"] != 802 {
		t.Errorf("%d addresses, busy %v, left out %v", own, first["runrig_eventbus_messages_delivered_total{address=busy}"], first["runrig_addresses_left_out{}"])
	}
	for i := range 1000 { // the others become the busiest
		_, _ = eb.Request(t.Context(), fmt.Sprintf("a%04d", i), nil)
	}
	delivered := func(got map[string]float64) (sum float64) {
		for name, v := range got {
			if strings.HasPrefix(name, "runrig_eventbus_messages_delivered_total{") {
				sum += v
			}
		}
		return sum
	}
	var second map[string]float64
	await(t, "all is counted", func() bool { second = values(t, reg); return delivered(second) == 1010 })
	for name, was := range first {
		if strings.Contains(name, "_total{") && second[name] < was {
			t.Errorf("%s went from %v to %v", name, was, second[name])
		}
	}
	if lines, err := testutil.GatherAndCount(reg); err != nil || lines > 201*20+200 {
		t.Errorf("%d series, %v", lines, err)
	}
}

// TestHostileAddresses: no address can break a scrape.
func TestHostileAddresses(t *testing.T) {
	t.Parallel()
	n := join(t)
	for _, address := range []string{"other", "a\"b\\c\nd", "\x1b[31m", strings.Repeat("x", 255), "{}", "\u202e"} {
		consume(t, n.EventBus(), address, nil)
	}
	reg := registry(t, clusterprom.New(n))
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 || strings.ContainsRune(w.Body.String(), '\r') {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	promtool(t, w.Body.String(), "check", "metrics")
}

// promtool runs it with an input, where it is installed.
func promtool(t *testing.T, input string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("promtool is not installed (Debian's package prometheus has it): not asked")
		return
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

// TestBoardAndAlerts: they name figures that exist, and every rule is one.
func TestBoardAndAlerts(t *testing.T) {
	t.Parallel()
	descs := make(chan *prometheus.Desc, 1000)
	n := join(t)
	clusterprom.New(n).Describe(descs)
	close(descs)
	known := map[string]bool{}
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for d := range descs {
		known[name.FindStringSubmatch(d.String())[1]] = true
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(clusterprom.Board, &board); err != nil {
		t.Fatal(err)
	}
	exprs := map[string]string{}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			exprs[p.Title+": "+target.Expr] = target.Expr
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\s+expr: (.*)$`).FindAllStringSubmatch(string(clusterprom.Alerts), -1) {
		exprs["alerts: "+m[1]] = m[1]
	}
	if len(exprs) < 25 {
		t.Errorf("%d expressions: %q", len(exprs), slices.Sorted(maps.Keys(exprs)))
	}
	used := regexp.MustCompile(`runrig_\w+`)
	for where, expr := range exprs {
		names := used.FindAllString(expr, -1)
		if len(names) == 0 {
			t.Errorf("%s names nothing", where)
		}
		for _, m := range names {
			if !known[m] {
				t.Errorf("%s: there is no %s", where, m)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "alerts.yml")
	if err := os.WriteFile(file, clusterprom.Alerts, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}

// TestCollectWhileClosing: who scrapes a node that closes gets figures.
func TestCollectWhileClosing(t *testing.T) {
	t.Parallel()
	n := join(t)
	reg := registry(t, clusterprom.New(n))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if _, err := reg.Gather(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	await(t, "it has left", func() bool { return values(t, reg)["runrig_node_state{state=left}"] == 1 })
}

// TestNamespace: names may begin otherwise.
func TestNamespace(t *testing.T) {
	t.Parallel()
	n := join(t)
	reg := registry(t, clusterprom.New(n, clusterprom.WithNamespace("mine"), clusterprom.WithMaxAddresses(0)))
	got := values(t, reg)
	if got["mine_node_serving{}"] != 1 || got["mine_eventbus_handlers{address=other}"] != 1 {
		t.Errorf("%v", got)
	}
}
