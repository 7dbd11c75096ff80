package consul_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/discoverytest"
	"github.com/runrig-go/runrig/examples/consul"
)

// entry is a service as it is registered with an agent.
type entry struct {
	ID, Name, Address string
	Port              int
	Check             struct{ TTL, Status string }
}

// An agent is as much of Consul's HTTP API as the provider uses.
type agent struct {
	*httptest.Server

	mu      sync.Mutex
	entries []entry
	index   int
	changed chan struct{}
	token   string
}

func newAgent(t *testing.T, entries ...entry) *agent {
	a := &agent{entries: entries, index: 1, changed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/agent/check/pass/{check}", a.pass)
	mux.HandleFunc("PUT /v1/agent/service/register", a.register)
	mux.HandleFunc("PUT /v1/agent/service/deregister/{id}", a.deregister)
	mux.HandleFunc("GET /v1/health/service/{name}", a.healthy)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Consul-Token") != a.token {
			http.Error(w, "Permission denied", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

// set changes the entries.
func (a *agent) set(f func([]entry) []entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entries = f(a.entries)
	a.index++
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) register(w http.ResponseWriter, r *http.Request) {
	var e entry
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil || e.ID == "" || e.Check.TTL == "" {
		http.Error(w, "bad entry", http.StatusBadRequest)
		return
	}
	a.set(func(all []entry) []entry {
		return append(slices.DeleteFunc(all, func(o entry) bool { return o.ID == e.ID }), e)
	})
}

func (a *agent) pass(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := strings.TrimPrefix(r.PathValue("check"), "service:")
	i := slices.IndexFunc(a.entries, func(e entry) bool { return e.ID == id })
	if i < 0 {
		http.Error(w, "Unknown check ID", http.StatusNotFound)
		return
	}
	a.entries[i].Check.Status = "passing"
}

func (a *agent) deregister(w http.ResponseWriter, r *http.Request) {
	found := false
	a.set(func(all []entry) []entry {
		return slices.DeleteFunc(all, func(o entry) bool {
			found = found || o.ID == r.PathValue("id")
			return o.ID == r.PathValue("id")
		})
	})
	if !found {
		http.Error(w, "Unknown service ID", http.StatusNotFound)
	}
}

func (a *agent) healthy(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for since, _ := strconv.Atoi(r.FormValue("index")); since == a.index; {
		changed := a.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		a.mu.Lock()
		if r.Context().Err() != nil {
			return
		}
	}
	type service struct{ Service entry }
	list := []service{}
	for _, e := range a.entries {
		if e.Name == r.PathValue("name") && e.Check.Status == "passing" {
			list = append(list, service{e})
		}
	}
	w.Header().Set("X-Consul-Index", strconv.Itoa(a.index))
	_ = json.NewEncoder(w).Encode(list)
}

func passing(id, address string) entry {
	e := entry{ID: id, Name: "web", Address: address, Port: 7946}
	e.Check.Status = "passing"
	return e
}

func TestConforms(t *testing.T) {
	t.Parallel()
	discoverytest.Run(t, func(t *testing.T) discovery.Provider {
		other := passing("c", "10.0.0.9")
		other.Check.Status = "critical"
		a := newAgent(t, passing("a", "10.0.0.7"), passing("b", "fd00::8"), other)
		return &consul.Provider{Agent: a.URL, Service: "web"}
	}, []string{"10.0.0.7:7946", "[fd00::8]:7946"})
	discoverytest.RunDown(t, func(t *testing.T) discovery.Provider {
		a := newAgent(t)
		a.Close()
		return &consul.Provider{Agent: a.URL, Service: "web"}
	})
}

// Access that is denied is for somebody to mend.
func TestDenied(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	a.token = "secret"
	_, err := (&consul.Provider{Agent: a.URL, Service: "web"}).Peers(t.Context())
	if !discovery.IsMisconfigured(err) || !strings.Contains(err.Error(), "Permission denied") {
		t.Errorf("error %v", err)
	}
	if got, err := (&consul.Provider{Agent: a.URL, Service: "web", Token: "secret"}).Peers(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("found %q, %v", got, err)
	}
}

// Nodes that know nothing but the agent are one cluster, and leave nothing behind.
func TestCluster(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	c := clustertest.New(t, 3, clustertest.WithConfig(func(_ int, conf *cluster.Config) {
		conf.Discovery = &consul.Provider{Agent: a.URL}
	}))
	ids := func() (list []string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, e := range a.entries {
			list = append(list, e.ID)
		}
		return list
	}
	c.Await("all are registered", 10*time.Second, func() bool { return len(ids()) == 3 })
	self := c.Node(1).Self().String()
	if err := c.Node(1).Close(); err != nil {
		t.Error(err)
	}
	if got := ids(); slices.Contains(got, self) || len(got) != 2 {
		t.Errorf("the agent has %q when %s has left", got, self)
	}
}

// An entry is renewed, and entered again where the agent has forgotten it.
func TestRenew(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	p := &consul.Provider{Agent: a.URL, Service: "web"}
	r := discovery.Registration{ID: "a-1", Addr: "10.0.0.7:7946"}
	for _, before := range []func([]entry) []entry{
		func(all []entry) []entry { return all },
		func(all []entry) []entry { all[0].Check.Status = "critical"; return all },
		func([]entry) []entry { return nil },
	} {
		a.set(before)
		if err := p.Register(t.Context(), r); err != nil {
			t.Error(err)
		}
		if got, err := p.Peers(t.Context()); err != nil || !slices.Equal(got, []string{r.Addr}) {
			t.Errorf("found %q, %v", got, err)
		}
	}
	for range 2 { // no entry is no error
		if err := p.Deregister(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	if got, err := p.Peers(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("found %q, %v", got, err)
	}
}

// A change is noticed at once.
func TestWatch(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 10), make(chan error)
	go func() {
		ended <- (&consul.Provider{Agent: a.URL, Service: "web"}).Watch(ctx, func() { changed <- struct{}{} })
	}()
	for range 3 {
		<-changed
		a.set(func(all []entry) []entry { return append(all, passing("a", "10.0.0.7")) })
	}
	<-changed
	cancel()
	if err := <-ended; err == nil {
		t.Error("Watch ended without an error")
	}
}
