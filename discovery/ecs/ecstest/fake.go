package ecstest

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// The key that Env and Config give, and the only one the fake accepts.
const (
	accessKeyID     = "AKIDECSTESTONLY00000"
	secretAccessKey = "ecstest-secret-of-no-use-anywhere-else"
)

// Metadata is the name of the metadata endpoint where actions are named: in
// [Fault] and [Fake.Calls].
const Metadata = "Metadata"

// Config says what the fake is like. The zero value is a region with nothing in
// it.
type Config struct {
	// Listen is the TCP address to listen on; "" means a free port of 127.0.0.1.
	Listen string
	// URL is where tasks reach the fake, as [Task.Env] and [Task.Config] say;
	// "" means where it listens. It is needed when Listen has no particular
	// address, or when something stands in between.
	URL string
	// Region is the AWS region it plays; "" means "eu-central-1".
	Region string
	// Account is the AWS account; "" means "123456789012".
	Account string
	// PageSize is the most tasks in one answer of ListTasks, 1 to 100; 0 means
	// 100.
	PageSize int
	// Lag is how long it takes until a list shows a change, and until a new
	// task is known at all: the API of ECS is eventually consistent. 0 means
	// that everything is seen at once.
	Lag time.Duration
	// Budget makes the fake throttle as AWS does: 20 calls a second, with
	// bursts of 100.
	Budget bool
	// Now is the clock by which statuses change, Lag passes, faults end and the
	// budget is refilled; it may be called concurrently. Nil means time.Now. A
	// process that plays a task is stopped by the real clock.
	Now func() time.Time
	// InstanceAttributes gives the attributes of the container instance with
	// this address, each time it is described; it must not call methods of the
	// Fake. Nil means {"private-ip": address}, the attribute that package ecs
	// reads.
	InstanceAttributes func(address string) map[string]string
}

// Fake is one region of one account of ECS. Its methods may be called
// concurrently. It is also an http.Handler, for who wants to serve it in
// another way as well: at another address, or, called as a function by the
// HTTPClient of an aws.Config, in the virtual time of testing/synctest.
type Fake struct {
	cfg     Config
	server  *http.Server
	closing chan struct{} // closed when the fake is
	served  chan struct{} // closed when the server's goroutine has ended

	mu       sync.Mutex
	closed   bool
	requests int                 // that are being answered
	idle     chan struct{}       // made by Close, closed when requests is 0
	clusters map[string]*cluster // by name
	tasks    []*Task             // in the order of creation
	faults   []*Fault
	calls    map[string]int
	budget   budget
}

type cluster struct {
	name      string
	services  map[string]bool
	instances map[string]*instance // by address
}

// instance is a container instance: a host on which tasks run.
type instance struct {
	arn, ec2ID, address string
}

// New starts a fake that listens until it is closed. It must be closed.
func New(cfg Config) (*Fake, error) {
	cfg.Listen = cmp.Or(cfg.Listen, "127.0.0.1:0")
	cfg.Region = cmp.Or(cfg.Region, "eu-central-1")
	cfg.Account = cmp.Or(cfg.Account, "123456789012")
	cfg.PageSize = cmp.Or(cfg.PageSize, 100)
	if cfg.PageSize < 1 || cfg.PageSize > 100 {
		return nil, fmt.Errorf("ecstest: Config.PageSize is %d, want 1 to 100", cfg.PageSize)
	}
	if cfg.Lag < 0 {
		return nil, fmt.Errorf("ecstest: Config.Lag is %v, want no negative time", cfg.Lag)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.InstanceAttributes == nil {
		cfg.InstanceAttributes = func(address string) map[string]string { return map[string]string{"private-ip": address} }
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("ecstest: Config.Listen %q: %w", cfg.Listen, err)
	}
	if cfg.URL, err = reachedAt(cfg.URL, listener.Addr()); err != nil {
		_ = listener.Close()
		return nil, err
	}
	f := &Fake{
		cfg:      cfg,
		closing:  make(chan struct{}),
		served:   make(chan struct{}),
		clusters: map[string]*cluster{},
		calls:    map[string]int{},
	}
	f.server = &http.Server{Handler: f}
	go func() { // Close stops it and waits for it
		defer close(f.served)
		_ = f.server.Serve(listener)
	}()
	return f, nil
}

// reachedAt returns the URL at which tasks reach the fake.
func reachedAt(configured string, listens net.Addr) (string, error) {
	if configured != "" {
		return strings.TrimRight(configured, "/"), nil
	}
	if ap, err := netip.ParseAddrPort(listens.String()); err == nil && ap.Addr().IsUnspecified() {
		return "", fmt.Errorf("ecstest: Config.Listen is %v, which is every address; set Config.URL to where tasks reach it", listens)
	}
	return "http://" + listens.String(), nil
}

// URL is where tasks reach the fake: Config.URL, else "http://127.0.0.1:PORT".
func (f *Fake) URL() string { return f.cfg.URL }

// Close stops the fake: processes that play tasks are killed, requests that
// hang are ended, connections closed. It returns when all of its processes and
// goroutines have ended, and may be called again. Stop the tasks first, and
// wait for them, when their ends matter.
func (f *Fake) Close() error {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.closing)
		if f.idle = make(chan struct{}); f.requests == 0 {
			close(f.idle)
		}
	}
	f.mu.Unlock()
	f.killProcesses()
	err := f.server.Close()
	<-f.served
	<-f.idle
	return err
}

// Calls returns how many requests there were for an action, such as
// "ListTasks", or for [Metadata]: each try counts, those that a fault answered
// too. For "" it is the number of all.
func (f *Fake) Calls(action string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if action != "" {
		return f.calls[action]
	}
	all := 0
	for _, n := range f.calls {
		all += n
	}
	return all
}

// AddCluster makes sure that there is a cluster with this name. [Fake.AddTask]
// does so by itself.
func (f *Fake) AddCluster(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cluster(name)
}

// AddService makes sure that the cluster, which is made too, has a service with
// this name, with no tasks as yet. [Fake.AddTask] does so by itself.
func (f *Fake) AddService(cluster, service string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cluster(cluster).services[service] = true
}

// cluster returns the cluster with this name and makes it first if need be.
// f.mu is held.
func (f *Fake) cluster(name string) *cluster {
	c, ok := f.clusters[name]
	if !ok {
		c = &cluster{name: name, services: map[string]bool{}, instances: map[string]*instance{}}
		f.clusters[name] = c
	}
	return c
}

// instance returns the container instance with this address, made first if need
// be. f.mu is held.
func (f *Fake) instance(c *cluster, address string) *instance {
	i, ok := c.instances[address]
	if !ok {
		i = &instance{
			arn:     f.arn("container-instance/" + c.name + "/" + randomID()),
			ec2ID:   "i-" + randomID()[:17],
			address: address,
		}
		c.instances[address] = i
	}
	return i
}

func (f *Fake) arn(resource string) string {
	return "arn:aws:ecs:" + f.cfg.Region + ":" + f.cfg.Account + ":" + resource
}

// randomID is an id as ECS gives them: 32 hexadecimal digits.
func randomID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// ServeHTTP answers POST / as the control plane, and GET below /v2, /v3 and /v4
// as the metadata endpoint.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		http.Error(w, "closed", http.StatusServiceUnavailable)
		return
	}
	f.requests++
	f.mu.Unlock()
	defer f.answered()
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/":
		f.serveControl(w, r)
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v"):
		f.serveMetadata(w, r)
	default:
		http.NotFound(w, r)
	}
}

// answered is called when a request is. (A sync.WaitGroup could not be used
// within and without a bubble of testing/synctest.)
func (f *Fake) answered() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.requests--; f.requests == 0 && f.closed {
		close(f.idle)
	}
}

func writeJSON(w http.ResponseWriter, contentType string, status int, doc any) {
	body, err := json.Marshal(doc)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Amzn-Requestid", randomID())
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
