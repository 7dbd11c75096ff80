package inspect_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/cluster/inspect"
	"github.com/runrig-go/runrig/verticle"
)

// clientOf returns a client of a node.
func clientOf(t *testing.T, n *cluster.Node, with cluster.Secrets) *inspect.Client {
	c := inspect.NewClient(n.Self().Addr, cluster.Config{Secrets: with})
	t.Cleanup(c.Close)
	return c
}

// TestClient: who holds the secret sees the cluster and sends messages through one node.
func TestClient(t *testing.T) {
	t.Parallel()
	a := join(t, cluster.Config{Name: "a", Secrets: secrets, Admin: inspect.Handler})
	b := join(t, cluster.Config{Name: "b", Secrets: secrets, Admin: inspect.Handler}, a.Self().Addr)
	consume(t, b.EventBus(), "greet", bus.Respond(func(_ context.Context, name string) (string, error) { return "hello, " + name, nil }).Handle)
	consume(t, b.EventBus(), "no", func(context.Context, *bus.Message) error { return &bus.ReplyError{Code: 7, Message: "not today"} })
	c := clientOf(t, a, secrets)

	if s, err := c.Cluster(t.Context(), inspect.Query{}); err != nil || len(s.Nodes) != 2 {
		t.Errorf("%d nodes, %v", len(s.Nodes), err)
	}
	if n, err := c.Node(t.Context(), inspect.Query{Addresses: 1, Sort: inspect.SortPain, Match: "greet"}); err != nil || len(n.Addresses) != 1 {
		t.Errorf("%+v, %v", n.Addresses, err)
	}
	if _, err := c.Node(t.Context(), inspect.Query{Sort: "x"}); err == nil || !strings.Contains(err.Error(), `sort "x"`) {
		t.Errorf("a wrong query: %v", err)
	}
	if p, err := c.Ping(t.Context()); err != nil || len(p) != 1 || p[0].Packet == nil || p[0].Name != "b" {
		t.Errorf("pings %+v, %v", p, err)
	}
	for what, call := range map[string]struct {
		call inspect.Call
		want func(a inspect.Answer) bool
	}{
		"a request": {inspect.Call{Verb: "request", Address: "greet", JSON: json.RawMessage(`"ada"`)},
			func(a inspect.Answer) bool {
				return a.Error == "" && a.Reply != nil && *a.Reply.Text == `"hello, ada"` && a.Reply.From == "b" && a.Reply.Via == "link"
			}},
		"nobody":  {inspect.Call{Verb: "request", Address: "nobody"}, func(a inspect.Answer) bool { return a.Class == "no_consumer" && a.Error != "" }},
		"refused": {inspect.Call{Verb: "request", Address: "no"}, func(a inspect.Answer) bool { return a.Class == "refused" && *a.Code == 7 }},
		"send":    {inspect.Call{Verb: "send", Address: "greet", Bytes: []byte{0xff}}, func(a inspect.Answer) bool { return a.Class == "" && a.Reply == nil }},
		"publish": {inspect.Call{Verb: "publish", Address: "x"}, func(a inspect.Answer) bool { return a.Class == "" }},
		"reserved": {inspect.Call{Verb: "send", Address: "_runrig.inspect"},
			func(a inspect.Answer) bool { return strings.Contains(a.Error, "reserved") }},
	} {
		if got, err := c.Call(t.Context(), call.call); err != nil || !call.want(got) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	for _, call := range []inspect.Call{{Verb: "shout", Address: "x"}, {Verb: "send", JSON: []byte("1"), Bytes: []byte("1")}, {Verb: "send", Timeout: -1}} {
		if _, err := c.Call(t.Context(), call); err == nil {
			t.Errorf("%+v is a call", call)
		}
	}
}

// TestListen: a consumer lives as long as somebody listens; it takes its turn, and
// answers.
func TestListen(t *testing.T) {
	t.Parallel()
	a := join(t, cluster.Config{Name: "a", Secrets: secrets, Admin: inspect.Handler})
	c := clientOf(t, a, secrets)
	ctx, cancel := context.WithCancel(t.Context())
	known, heard, over := make(chan struct{}), make(chan inspect.Said, 1), make(chan error, 1)
	go func() {
		over <- c.Listen(ctx, inspect.Listen{Address: "echo", Turns: true, Echo: true}, func() { close(known) }, func(s inspect.Said) bool { heard <- s; return true })
	}()
	<-known
	m, err := a.EventBus().Request(t.Context(), "echo", map[string]int{"n": 1}, bus.WithHeader("k", "v"))
	if err != nil || string(m.Body) != `{"n":1}` {
		t.Errorf("echo: %v, %v", m, err)
	}
	if s := <-heard; *s.Text != `{"n":1}` || s.Headers["k"][0] != "v" || !s.Request || s.Address != "echo" {
		t.Errorf("heard %+v", s)
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
	eventually(t, "the consumer is gone", func() bool {
		_, err := a.EventBus().Request(t.Context(), "echo", nil)
		return errors.Is(err, bus.ErrNoConsumer)
	})
	if err := c.Listen(t.Context(), inspect.Listen{Address: "_runrig.x", Turns: true}, func() {}, nil); err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Errorf("a reserved address: %v", err)
	}
}

// TestListenAside: without turns it hears what is published, and takes nothing.
func TestListenAside(t *testing.T) {
	t.Parallel()
	a := join(t, cluster.Config{Name: "a", Secrets: secrets, Admin: inspect.Handler})
	consume(t, a.EventBus(), "news", func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, "mine") })
	ctx, cancel := context.WithCancel(t.Context())
	known, heard, over := make(chan struct{}), make(chan inspect.Said, 8), make(chan error, 1)
	go func() {
		over <- clientOf(t, a, secrets).Listen(ctx, inspect.Listen{Address: "news"}, func() { close(known) }, func(s inspect.Said) bool { heard <- s; return true })
	}()
	<-known
	for range 4 {
		if reply, err := bus.Request[string](t.Context(), a.EventBus(), "news", "asked"); err != nil || reply != "mine" {
			t.Errorf("reply %q, %v", reply, err)
		}
	}
	if err := a.EventBus().Publish(t.Context(), "news", "told"); err != nil {
		t.Fatal(err)
	}
	if s := <-heard; *s.Text != `"told"` {
		t.Errorf("heard %q", *s.Text)
	}
	cancel()
	if err := <-over; err != nil || len(heard) > 0 {
		t.Errorf("%v, and %d more heard", err, len(heard))
	}
}

// TestNotAllowed: what is wrong between a client and a node has a class of its own.
func TestNotAllowed(t *testing.T) {
	t.Parallel()
	secured := join(t, cluster.Config{Secrets: secrets, Admin: inspect.ReadOnly})
	plain := join(t, cluster.Config{Admin: inspect.ReadOnly})
	mute := join(t, cluster.Config{Secrets: secrets})
	other := cluster.NewSecrets("another secret of thirty-two bytes")
	for what, c := range map[string]struct {
		n    *cluster.Node
		with cluster.Secrets
		err  error
	}{
		"no secret":       {secured, cluster.Secrets{}, cluster.ErrSecret},
		"wrong secret":    {secured, other, cluster.ErrSecret},
		"secret for none": {plain, secrets, cluster.ErrSecret},
		"nothing served":  {mute, secrets, cluster.ErrVersion},
	} {
		if _, err := clientOf(t, c.n, c.with).Node(t.Context(), inspect.Query{}); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	c := clientOf(t, plain, cluster.Secrets{})
	if _, err := c.Node(t.Context(), inspect.Query{}); err != nil {
		t.Error(err)
	}
	if _, err := c.Call(t.Context(), inspect.Call{Verb: "send", Address: "x"}); !errors.Is(err, inspect.ErrNotAllowed) {
		t.Errorf("a call of a node that is to be looked at: %v", err)
	}
}

// TestCallTakesJSONOnly: what a form in a browser can send is no call.
func TestCallTakesJSONOnly(t *testing.T) {
	t.Parallel()
	h := inspect.Handler(join(t, cluster.Config{}))
	for body, contentType := range map[string]string{
		`{"verb":"send","address":"x"}`:         "text/plain",
		`{"verb":"send","address":"x","no":1}`:  "application/json",
		`{"verb":"send","address":"x"} {}`:      "application/json",
		`{"verb":"send","address":"x","json":}`: "application/json",
	} {
		r := httptest.NewRequest(http.MethodPost, "/v1/call", strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest && w.Code != http.StatusUnsupportedMediaType {
			t.Errorf("%s: status %d", body, w.Code)
		}
	}
}

// TestEvents: a client hears of a member's death, of a verticle that fails on another
// node, and of what is lost there.
func TestEvents(t *testing.T) {
	clusterOf(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		i := inspect.Of(c.Node(0).Node)
		var got []inspect.Event
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		over := make(chan struct{})
		events := make(chan inspect.Event, 100)
		go func() {
			defer close(over)
			i.Events(ctx, 4, func(e inspect.Event) bool { events <- e; return true })
		}()
		own := map[string]int{}
		var alone sync.WaitGroup
		alone.Go(func() { i.OwnEvents(ctx, 4, func(e inspect.Event) bool { own[e.Kind]++; return true }) })
		has := func(what func(inspect.Event) bool) func() bool {
			return func() bool {
				for len(events) > 0 {
					got = append(got, <-events)
				}
				for _, e := range got {
					if what(e) {
						return true
					}
				}
				return false
			}
		}
		c.Await("the past", time.Second, has(func(e inspect.Event) bool { return e.Kind == "linked" }))

		other := c.Node(1)
		time.Sleep(1500 * time.Millisecond)
		d, err := verticle.Deploy(t.Context(), other.Bus, verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
			_, err := d.Consume("lost", bus.HandlerFunc(func(context.Context, *bus.Message) error { return errors.New("no") }))
			return err
		}), verticle.WithName("v"), verticle.WithLogger(quiet))
		if err != nil {
			t.Fatal(err)
		}
		c.Await("a verticle has started", 3*time.Second, has(func(e inspect.Event) bool {
			return e.Kind == inspect.KindVerticle && e.Name == "v" && e.State == "running" && e.Node == other.Self().String()
		}))
		if err := other.Bus.Send(t.Context(), "lost", nil); err != nil {
			t.Fatal(err)
		}
		c.Await("a message has failed", 3*time.Second, has(func(e inspect.Event) bool {
			return e.Kind == inspect.KindMessages && e.Name == "failed" && e.Count == 1
		}))
		d.Go(func(context.Context) error { return errors.New("that is it") })
		c.Await("the verticle has failed", 3*time.Second, has(func(e inspect.Event) bool {
			return e.Kind == inspect.KindVerticle && e.State == "failed" && strings.Contains(e.Error, "that is it")
		}))
		c.Kill(2)
		dead := c.Node(2).Self().String()
		c.Await("a member has failed", 5*time.Second, has(func(e inspect.Event) bool { return e.Kind == "failed" && e.Member == dead }))
		for _, m := range ask(t, c.Node(0), inspect.Query{}).Members {
			if (m.ID == dead) == m.Failed.IsZero() {
				t.Errorf("%s, %s, failed at %v", m.ID, m.Status, m.Failed)
			}
		}
		cancel()
		<-over
		alone.Wait()
		if own["linked"] == 0 || own["failed"] != 1 || own[inspect.KindVerticle]+own[inspect.KindMessages] > 0 {
			t.Errorf("of its own events it tells %v", own)
		}
	})
}
