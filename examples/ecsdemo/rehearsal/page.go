package rehearsal

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/dashboard"
	"github.com/runrig-go/runrig/cluster/inspect"
)

// pageAddr is where the page is, unless somebody else is there: then at a free port.
const pageAddr = "127.0.0.1:7980"

// A page shows the tasks in a browser of this host. This process is no node: the page
// attaches to some task that answers, and to another one when that is killed.
type page struct {
	url  string
	stop func() // ends the page, and waits for it

	secret string
	mu     sync.Mutex
	nodes  []string // of the tasks that run, the oldest first
}

// openPage serves the page until its stop is called. It has no url where this host
// has no place for it.
func openPage(secret string) *page {
	p := &page{secret: secret, stop: func() {}}
	l, err := net.Listen("tcp", pageAddr)
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return p
	}
	p.url = "http://" + l.Addr().String() + "/"
	ctx, cancel := context.WithCancel(context.Background())
	s := &http.Server{
		Handler:           dashboard.Attach(p.dial, dashboard.Options{}),
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	p.stop = func() {
		cancel()
		end, over := context.WithTimeout(context.Background(), time.Second)
		defer over()
		if s.Shutdown(end) != nil {
			_ = s.Close()
		}
		serving.Wait()
	}
	return p
}

// runs says which tasks run.
func (p *page) runs(tasks []*task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nodes = nil
	for _, t := range tasks {
		p.nodes = append(p.nodes, t.place.nodeAddr())
	}
}

// dial returns a client of a task that answers.
func (p *page) dial(ctx context.Context) (*inspect.Client, error) {
	p.mu.Lock()
	nodes := p.nodes
	p.mu.Unlock()
	errs := []error{errors.New("no task answers")}
	for _, addr := range nodes {
		c := inspect.NewClient(addr, cluster.Config{Secrets: cluster.NewSecrets(p.secret)})
		_, err := c.Node(ctx, inspect.Query{Addresses: -1, Members: -1, Links: -1, Verticles: -1})
		if err == nil {
			return c, nil
		}
		c.Close()
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}
