package dashboard_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/cluster/dashboard"
	"github.com/runrig-go/runrig/cluster/inspect"
	"github.com/runrig-go/runrig/discovery"
)

// frame is what these tests read of what a tab is sent.
type frame struct {
	Asker    string
	Members  map[string]int
	Findings []inspect.Finding
	Nodes    []struct{ ID, Name, Status, State, Silent string }
	Pairs    [][]float64
}

// tab is a page that is open at a handler.
type tab struct {
	mu     sync.Mutex
	head   http.Header
	text   string
	closed func()
}

func (b *tab) Header() http.Header { return b.head }
func (b *tab) WriteHeader(int)     {}
func (b *tab) Flush()              {}

func (b *tab) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text += string(p)
	return len(p), nil
}

// open opens a tab, which is closed at the end of the test at the latest.
func open(t *testing.T, h http.Handler) *tab {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &tab{head: http.Header{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(b, request(http.MethodGet, "/stream", func(r *http.Request) { *r = *r.WithContext(ctx) }))
	}()
	b.closed = func() {
		cancel()
		<-done
	}
	t.Cleanup(b.closed)
	return b
}

// got returns what was sent of a kind.
func (b *tab) got(kind string) (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for part := range strings.SplitSeq(b.text, "\n\n") {
		if data, ok := strings.CutPrefix(part, "event: "+kind+"\ndata: "); ok {
			all = append(all, data)
		}
	}
	return all
}

// last returns the last frame, and whether there is one.
func (b *tab) last() (f frame, ok bool) {
	all := b.got("frame")
	return f, len(all) > 0 && json.Unmarshal([]byte(all[len(all)-1]), &f) == nil
}

// TestDeath: a node's death is shown within a second of when the bus knows, and at any
// node; a node that comes for it heals the cluster.
func TestDeath(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		for k := range 3 {
			inspect.Of(c.Node(k).Node)
		}
		b := open(t, dashboard.New(c.Node(0).Node, dashboard.Options{}))
		defer b.closed()
		c.Await("all are there", 5*time.Second, func() bool {
			f, ok := b.last()
			return ok && len(f.Nodes) == 3 && len(f.Pairs) == 3 && len(f.Findings) == 0
		})
		dead := c.Node(2).Self().String()
		c.Kill(2)
		c.Await("the bus knows", 10*time.Second, func() bool { return len(c.Node(0).Bus.Peers()) == 1 })
		c.Await("the page knows", time.Second, func() bool {
			f, _ := b.last()
			return slices.ContainsFunc(f.Nodes, func(n struct{ ID, Name, Status, State, Silent string }) bool {
				return n.ID == dead && n.State == "" && (n.Silent != "" || n.Status == "failed")
			})
		})
		c.Await("the event is told", time.Second, func() bool { return strings.Contains(strings.Join(b.got("events"), ""), `"unlinked"`) })
		c.Await("it is a finding", 30*time.Second, func() bool {
			f, _ := b.last()
			return f.Members["failed"] == 1 && len(f.Findings) > 0
		})
	})
}

// join starts a node on the loopback that is closed at the end of the test.
func join(t *testing.T, name string, peers ...string) *cluster.Node {
	t.Helper()
	n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(quiet)), cluster.Config{
		Name: name, Bind: "127.0.0.1:0", Discovery: discovery.Static(peers...), Logger: quiet,
		Secrets: cluster.NewSecrets(secret), Admin: inspect.Handler,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// await retries until ok, for at most ten seconds.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// TestAttach: a page of another process shows the cluster by way of one node, and by
// another one when that has gone.
func TestAttach(t *testing.T) {
	t.Parallel()
	a := join(t, "a")
	nodes := []*cluster.Node{a, join(t, "b", a.Self().Addr)}
	h := dashboard.Attach(func(ctx context.Context) (*inspect.Client, error) {
		var errs []error
		for _, n := range nodes {
			c := inspect.NewClient(n.Self().Addr, cluster.Config{Secrets: cluster.NewSecrets(secret)})
			_, err := c.Node(ctx, inspect.Query{Addresses: -1})
			if err == nil {
				return c, nil
			}
			c.Close()
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	}, dashboard.Options{Logger: quiet})
	b := open(t, h)
	await(t, "a tells", func() bool { f, ok := b.last(); return ok && f.Asker == "a" && len(f.Pairs) == 1 })
	w := ask(h, request(http.MethodGet, "/links"))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"from":"b"`) {
		t.Errorf("links: status %d, %s", w.Code, w.Body)
	}
	_ = a.Close()
	await(t, "b tells", func() bool { f, _ := b.last(); return f.Asker == "b" })
	_ = nodes[1].Close()
	await(t, "nobody tells", func() bool { return len(b.got("lost")) > 0 })
}

// TestClosed: the page of a node that has closed is told so.
func TestClosed(t *testing.T) {
	t.Parallel()
	n := join(t, "a")
	b := open(t, dashboard.New(n, dashboard.Options{}))
	await(t, "it shows the node", func() bool { _, ok := b.last(); return ok })
	_ = n.Close()
	await(t, "it says that the node has closed", func() bool {
		lost := b.got("lost")
		return len(lost) > 0 && strings.Contains(lost[0], "has closed")
	})
}

// TestTry: the page sends messages where that is allowed, and hears what is sent.
func TestTry(t *testing.T) {
	t.Parallel()
	n := join(t, "a")
	h := dashboard.New(n, dashboard.Options{Try: true})
	post := func(path, body string) *httptest.ResponseRecorder {
		return ask(h, request(http.MethodPost, path, func(r *http.Request) {
			*r = *httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.Path, strings.NewReader(body))
			r.RemoteAddr, r.Host = "127.0.0.1:1", "localhost"
			r.Header.Set("Content-Type", "application/json")
		}))
	}
	if _, err := n.EventBus().Consume("greet", bus.Respond(func(_ context.Context, name string) (string, error) { return "hello, " + name, nil })); err != nil {
		t.Fatal(err)
	}
	if w := post("/call", `{"verb":"request","address":"greet","json":"ada"}`); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `hello, ada`) {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
	if w := post("/call", `{"verb":"request","address":"nobody","timeout_seconds":0.1}`); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `no_consumer`) {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
	if w := post("/call", `{"verb":"send","address":"_runrig.inspect"}`); !strings.Contains(w.Body.String(), "reserved") {
		t.Errorf("the library's own address: status %d, %s", w.Code, w.Body)
	}
	if w := post("/call", `{"verb":"send","address":"x","no":1}`); w.Code != http.StatusBadRequest {
		t.Errorf("an unknown field: status %d", w.Code)
	}
}
